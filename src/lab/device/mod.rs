//! Choosing where to compute: burn's `flex` on the CPU, or burn on wgpu.
//!
//! `auto` takes a real GPU only after our layers agree there with `flex` and a
//! training step measures faster. A software driver never counts as a GPU. In
//! the window the test runs in a child process: a broken driver can crash the
//! child, not the person's work.

pub mod caches;
pub mod prepare;
pub mod preparer;
pub mod self_test;

use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use burn::tensor::{Device, DeviceKind};
use serde::{Deserialize, Serialize};

use super::mailbox::{Event, Shared};
use crate::model::buckets::Buckets;
use caches::Cache;
use self_test::SelfTest;

pub use self_test::TOLERANCE;

/// What the person asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceChoice {
    /// A real GPU if it agrees with the CPU and is faster, else the CPU.
    #[default]
    Auto,
    /// The CPU (burn's flex).
    Cpu,
    /// The GPU through burn on wgpu, whatever it is.
    Gpu,
}

/// A device to compute on.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    /// Burn's handle.
    pub device: Device,
    /// For people and results.
    pub name: String,
    /// Why this one.
    pub reason: String,
}

impl ChosenDevice {
    /// Whether it is a GPU, or a driver that plays one.
    pub fn is_gpu(&self) -> bool {
        Buckets::of(&self.device) == Buckets::Filled
    }
}

/// Why the device asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// `gpu` without one.
    #[error("no GPU can be used: {0}; use --device cpu")]
    NoGpu(String),
}

/// A graphics adapter as wgpu sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    /// Product name.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: String,
    /// Graphics API.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
}

/// What `foresight doctor` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Every adapter there is.
    pub adapters: Vec<Adapter>,
    /// The test of the adapter that was tried; absent if none was.
    pub self_test: Option<SelfTest>,
    /// `cpu` or `gpu`.
    pub choice: String,
    /// Why.
    pub reason: String,
    /// What is kept of a GPU's preparation, and where.
    pub caches: Vec<Cache>,
    /// What this machine lacks, with what to install.
    pub missing: Vec<String>,
}

/// This machine's processor in words, for records of measured times.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Where the system does not tell, the number of cores has to do.
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let plural = if cores == 1 { "core" } else { "cores" };
    match model {
        Some((_, model)) => format!("{cores} {plural}, {}", model.trim()),
        None => format!("{cores} {plural}, {}", std::env::consts::ARCH),
    }
}

/// The CPU, for a reason.
pub fn cpu(reason: &str) -> ChosenDevice {
    ChosenDevice { device: Device::flex(), name: "CPU (flex)".into(), reason: reason.to_owned() }
}

/// The device for a choice; `auto` runs the self-test first.
///
/// # Errors
/// `gpu` on a machine without any adapter, or one that fails at once.
pub fn choose(choice: DeviceChoice) -> Result<ChosenDevice, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu("you asked for it")),
        DeviceChoice::Gpu => {
            let adapters = adapters();
            let adapter = real_gpu(&adapters).or(adapters.first());
            let adapter = adapter.ok_or_else(|| DeviceError::NoGpu(no_adapter()))?;
            Ok(gpu(adapter, "you asked for it"))
        }
        DeviceChoice::Auto => {
            let report = examine(false);
            let adapter = real_gpu(&report.adapters);
            match adapter.filter(|_| report.choice == "gpu") {
                Some(adapter) => Ok(gpu(adapter, &report.reason)),
                None => Ok(cpu(&report.reason)),
            }
        }
    }
}

fn gpu(adapter: &Adapter, reason: &str) -> ChosenDevice {
    ChosenDevice {
        device: Device::wgpu(device_kind(adapter)),
        name: format!("GPU ({}, {})", adapter.name, adapter.backend),
        reason: reason.to_owned(),
    }
}

fn device_kind(adapter: &Adapter) -> DeviceKind {
    match adapter.kind.as_str() {
        "discrete" => DeviceKind::DiscreteGpu(0),
        "integrated" => DeviceKind::IntegratedGpu(0),
        "virtual" => DeviceKind::VirtualGpu(0),
        "software" => DeviceKind::Cpu,
        _ => DeviceKind::DefaultDevice,
    }
}

/// The adapter `auto` would try.
fn real_gpu(adapters: &[Adapter]) -> Option<&Adapter> {
    let of_kind = |kind: &str| adapters.iter().find(|adapter| adapter.kind == kind);
    of_kind("discrete").or_else(|| of_kind("integrated")).or_else(|| of_kind("virtual"))
}

/// Every adapter wgpu finds.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    // OpenGL adapters cannot run burn's kernels.
    descriptor.backends &= wgpu::Backends::PRIMARY;
    let backends = descriptor.backends;
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(backends))
        .iter()
        .map(|adapter| {
            let info = adapter.get_info();
            let kind = match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete",
                wgpu::DeviceType::IntegratedGpu => "integrated",
                wgpu::DeviceType::VirtualGpu => "virtual",
                wgpu::DeviceType::Cpu => "software",
                wgpu::DeviceType::Other => "other",
            };
            Adapter {
                name: info.name,
                kind: kind.to_owned(),
                backend: info.backend.to_string(),
                driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            }
        })
        .collect()
}

fn no_adapter() -> String {
    "no Vulkan, Metal or DirectX adapter was found; on Debian install \
     libvulkan1 and mesa-vulkan-drivers or the GPU maker's driver"
        .to_owned()
}

/// Look at this machine. The self-test runs on a real GPU, and on a software
/// adapter only if `test_software`: it takes minutes there.
pub fn examine(test_software: bool) -> DeviceReport {
    let adapters = adapters();
    let candidate = real_gpu(&adapters).or_else(|| adapters.first().filter(|_| test_software));
    let self_test =
        candidate.map(|adapter| self_test::self_test(&Device::wgpu(device_kind(adapter))));
    let verdict = match (&self_test, candidate) {
        (Some(test), Some(adapter)) => judge(test, adapter),
        _ if adapters.is_empty() => Err(no_adapter()),
        _ => {
            Err("the only adapter is a software driver, which is slower than the CPU itself".into())
        }
    };
    let (choice, reason) = match verdict {
        Ok(reason) => ("gpu", reason),
        Err(reason) => ("cpu", reason),
    };
    let missing = missing(&adapters);
    let caches = caches::caches(&adapters, &caches::variable);
    DeviceReport { adapters, self_test, choice: choice.to_owned(), reason, caches, missing }
}

fn judge(test: &SelfTest, adapter: &Adapter) -> Result<String, String> {
    if let Some(error) = &test.error {
        return Err(format!("the GPU failed the self-test: {error}"));
    }
    if let Some(wrong) = test.differences.iter().find(|difference| !difference.agrees()) {
        let largest = wrong.largest.map_or("NaN".into(), |largest| format!("{largest:.1e}"));
        return Err(format!(
            "the GPU disagrees with the CPU: {} by {largest}, where {TOLERANCE:.0e} is allowed",
            wrong.what
        ));
    }
    let (Some(gpu), Some(cpu)) = (test.gpu_step_ms, test.cpu_step_ms) else {
        return Err("the GPU could not be timed".into());
    };
    if adapter.kind == "software" {
        return Err(format!(
            "a software driver never counts as a GPU ({gpu:.0} ms a step, CPU {cpu:.0} ms)"
        ));
    }
    let times = format!("{gpu:.1} ms a training step against {cpu:.1} ms on the CPU");
    if gpu < cpu {
        Ok(format!("the GPU agrees and is faster: {times}"))
    } else {
        Err(format!("the GPU is slower: {times}"))
    }
}

/// What this machine lacks for the window, the GPU and file dialogs.
fn missing(adapters: &[Adapter]) -> Vec<String> {
    let mut missing = Vec::new();
    if adapters.is_empty() {
        missing.push(no_adapter());
    }
    if cfg!(target_os = "linux") {
        if !has_display() {
            missing.push(NO_DISPLAY.to_owned());
        }
        if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none() {
            missing.push(
                "no session bus: open and save dialogs need xdg-desktop-portal; \
                 paths can be typed and files dropped instead"
                    .to_owned(),
            );
        }
    }
    missing
}

/// What to say where no window can open.
pub const NO_DISPLAY: &str = "no display: neither DISPLAY nor WAYLAND_DISPLAY is set, so no window can open; \
     collect, train, plan, eval, doctor and bench work without one";

/// Whether a window could open.
pub fn has_display() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// Examine the GPU in a child process, once, and report if it should be used.
///
/// # Errors
/// The system has no thread left.
pub fn probe_in_background(shared: Arc<Shared>) -> std::io::Result<()> {
    /// The first plans and frames come first.
    const DELAY: Duration = Duration::from_secs(4);
    /// Why the GPU is better, if it is, once that is known.
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let probe = move || {
        let found = FOUND.get_or_init(|| {
            std::thread::sleep(DELAY);
            let mut command = Command::new(std::env::current_exe().ok()?);
            command.args(["doctor", "--json"]).stdin(Stdio::null()).stderr(Stdio::null());
            let output = command.output().ok()?;
            let report = serde_json::from_slice::<DeviceReport>(&output.stdout).ok()?;
            (report.choice == "gpu").then_some(report.reason)
        });
        if let Some(reason) = found.clone() {
            shared.send(Event::FoundGpu { reason });
        }
    };
    std::thread::Builder::new().name("gpu-probe".into()).spawn(probe).map(drop)
}

/// Median of `samples` runs after `warmup` ones, milliseconds.
pub fn median_ms(warmup: usize, samples: usize, mut run: impl FnMut()) -> f64 {
    for _ in 0..warmup {
        run();
    }
    let times: Vec<f64> = (0..samples)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    crate::eval::quantile(&times, 0.5).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::self_test::Difference;
    use super::*;

    fn adapter(kind: &str) -> Adapter {
        Adapter {
            name: kind.into(),
            kind: kind.into(),
            backend: "vulkan".into(),
            driver: String::new(),
        }
    }

    fn difference(largest: Option<f32>) -> Difference {
        Difference { what: "a network".into(), largest }
    }

    fn good() -> SelfTest {
        SelfTest {
            differences: vec![difference(Some(1e-5)); 2],
            gpu_step_ms: Some(5.0),
            cpu_step_ms: Some(50.0),
            error: None,
        }
    }

    #[test]
    fn a_gpu_is_taken_only_if_it_agrees_and_is_faster() {
        let gpu = adapter("discrete");
        assert!(judge(&good(), &gpu).is_ok());
        assert!(judge(&SelfTest { gpu_step_ms: Some(60.0), ..good() }, &gpu).is_err());
        for wrong in [Some(0.1), Some(f32::NAN), None] {
            let differences = vec![difference(Some(1e-5)), difference(wrong)];
            assert!(judge(&SelfTest { differences, ..good() }, &gpu).is_err());
        }
        assert!(judge(&SelfTest { error: Some("lost".into()), ..good() }, &gpu).is_err());
    }

    #[test]
    fn a_software_driver_never_counts_as_a_gpu() {
        assert!(judge(&good(), &adapter("software")).is_err());
        assert_eq!(real_gpu(&[adapter("software")]), None);
        let both = [adapter("software"), adapter("integrated"), adapter("discrete")];
        assert_eq!(real_gpu(&both).map(|a| a.kind.as_str()), Some("discrete"));
    }
}
