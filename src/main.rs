//! Hands over to the command line.

fn main() -> std::process::ExitCode {
    foresight::cli::run(std::time::Instant::now())
}
