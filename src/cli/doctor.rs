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
            for difference in &test.differences {
                let largest = difference.largest.map_or("NaN".into(), |v| format!("{v:.1e}"));
                println!("  {}: {largest}", difference.what);
            }
            if let (Some(gpu), Some(cpu)) = (test.gpu_step_ms, test.cpu_step_ms) {
                println!("  training step: {gpu:.1} ms, CPU {cpu:.1} ms");
            }
            if let Some(error) = &test.error {
                println!("  failed: {error}");
            }
        }
        println!("auto chooses\n  {}: {}", report.choice, report.reason);
        println!("what a GPU prepares is kept");
        for cache in &report.caches {
            println!("  {}: {}", cache.what, cache.place);
        }
        if report.caches.is_empty() {
            println!("  nowhere: there is no GPU");
        }
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
