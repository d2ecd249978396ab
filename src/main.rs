//! Hands over to the command line.

fn main() -> std::process::ExitCode {
    let started = std::time::Instant::now();
    for (name, folder) in foresight::lab::device::caches::driver_folders() {
        #[expect(unsafe_code, reason = "no other thread exists yet that could read it")]
        // SAFETY: the first statements of the program.
        unsafe {
            std::env::set_var(name, folder);
        }
    }
    foresight::lab::device::caches::keep_measurements();
    foresight::cli::run(started)
}
