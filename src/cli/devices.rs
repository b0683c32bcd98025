//! `tensorseal devices`: what can measure here, whether it measures rightly, and how fast.

use super::args::{DevicesArgs, OutputFormat};
use super::{CommandResult, Failure, exit};
use crate::engine::Threads;
use crate::engine::gpu::{AdapterDescription, DeviceSelector, Gpu, GpuError, Throughput, adapters};
use crate::report::units::bytes;
use serde::Serialize;
use std::io::{self, Write};

/// One device in the list.
#[derive(Serialize)]
struct DeviceStatus {
    #[serde(flatten)]
    adapter: AdapterDescription,
    /// `passed`, or why not; null when it was not asked for.
    self_test: Option<String>,
    rates: Vec<Throughput>,
}

pub(super) fn run(args: &DevicesArgs) -> CommandResult {
    let listed: Vec<DeviceStatus> =
        adapters().into_iter().map(|adapter| examine(adapter, args)).collect();
    let failed = listed.iter().any(|d| d.self_test.as_deref().is_some_and(|text| text != "passed"));
    let printed = match args.format {
        OutputFormat::Json => json(&listed),
        OutputFormat::Human => human(&listed),
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::incomplete(error)),
        _ if failed => Ok(exit::FINDINGS),
        _ => Ok(exit::PASS),
    }
}

fn examine(adapter: AdapterDescription, args: &DevicesArgs) -> DeviceStatus {
    let mut listed = DeviceStatus { adapter, self_test: None, rates: Vec::new() };
    if args.list {
        return listed;
    }
    let selector = DeviceSelector::Named(listed.adapter.name.clone());
    let threads = Threads::default();
    let pool = threads.feeder_pool().ok().flatten();
    let tested = Gpu::open(&selector).and_then(|gpu| gpu.benchmark(pool));
    listed.self_test = Some(match tested {
        Ok(rates) => {
            listed.rates = rates;
            "passed".to_owned()
        }
        Err(error) => error.to_string(),
    });
    listed
}

fn json(listed: &[DeviceStatus]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &serde_json::json!({ "devices": listed }))?;
    writeln!(out)
}

fn human(listed: &[DeviceStatus]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "cpu  always there; --device cpu")?;
    if listed.is_empty() {
        match cfg!(feature = "gpu") {
            true => writeln!(
                out,
                "no GPU found: install its Vulkan driver, or mesa-vulkan-drivers for the software one"
            )?,
            false => writeln!(out, "{}", GpuError::NotBuiltIn)?,
        }
    }
    for DeviceStatus { adapter, self_test, rates } in listed {
        writeln!(out, "\n{}", adapter.name)?;
        writeln!(out, "  {}, {}, {}", adapter.kind, adapter.backend, adapter.driver)?;
        writeln!(
            out,
            "  buffers up to {}, bindings up to {}",
            bytes(adapter.max_buffer_size),
            bytes(adapter.max_storage_binding)
        )?;
        if let Some(text) = self_test {
            writeln!(out, "  self-test {text}")?;
        }
        for rate in rates {
            writeln!(out, "  {:>9.2} GB/s  {}", rate.bytes_per_second / 1e9, rate.what)?;
        }
        if adapter.is_software() {
            writeln!(out, "  a software device: for tests; `auto` never uses it")?;
        }
    }
    Ok(())
}
