//! `foresight doctor`: what this machine can do, and what it lacks.

use clap::Args;

use crate::lab::device::{self, DeviceChoice, TOLERANCE};

/// List graphics adapters, test them against the CPU, and say what is missing.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// With gpu, test a software adapter too; that takes minutes.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
}

impl Doctor {
    pub fn run(self) -> anyhow::Result<()> {
        let report = device::examine(self.device == DeviceChoice::Gpu);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(());
        }
        println!("adapters");
        for adapter in &report.adapters {
            let device::Adapter { name, kind, backend, driver } = adapter;
            println!("  {name} ({kind}, {backend}, {driver})");
        }
        if report.adapters.is_empty() {
            println!("  none");
        }
        if let Some(test) = &report.self_test {
            println!("self-test against the CPU, {TOLERANCE:.0e} allowed");
            for (what, value) in
                [("layers", test.layer_difference), ("network", test.network_difference)]
            {
                println!(
                    "  {what}: {}",
                    value.map_or("not measured".into(), |v| format!("{v:.1e}"))
                );
            }
            if let Some(error) = &test.error {
                println!("  failed: {error}");
            }
        }
        println!("auto chooses\n  {}: {}", report.choice, report.reason);
        println!("missing");
        for line in &report.missing {
            println!("  {line}");
        }
        if report.missing.is_empty() {
            println!("  nothing");
        }
        Ok(())
    }
}
