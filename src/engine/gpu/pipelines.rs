//! The kernels: one row of [`KERNELS`] for each shader, with its bindings written out.
//!
//! Automatic layouts would drop the bindings an entry point does not use, and two entry points of a
//! shader could not share a bind group.

use bytemuck::{Pod, Zeroable};
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor,
    BindGroupLayoutEntry, BindingResource, BindingType, BufferBindingType, ComputePipeline,
    ComputePipelineDescriptor, Device, PipelineLayoutDescriptor, ShaderModuleDescriptor,
    ShaderSource, ShaderStages,
};

const PARAMS: &str = include_str!("../../../shaders/include/params.wgsl");
const U64: &str = include_str!("../../../shaders/include/u64.wgsl");
const BLAKE3: &str = include_str!("../../../shaders/include/blake3.wgsl");
const STRUCTURE: &str = include_str!("../../../shaders/include/structure.wgsl");
const CHACHA20: &str = include_str!("../../../shaders/include/chacha20.wgsl");

/// One shader.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// Name of the shader and of its CPU twin.
    pub name: &'static str,
    /// Includes, then the shader itself.
    pub parts: &'static [&'static str],
    /// Entry points, in the order they are dispatched.
    pub entries: &'static [&'static str],
    /// Bindings, by number.
    bindings: &'static [BufferBindingType],
}

const READ: BufferBindingType = BufferBindingType::Storage { read_only: true };
const WRITE: BufferBindingType = BufferBindingType::Storage { read_only: false };
const UNIFORM: BufferBindingType = BufferBindingType::Uniform;

/// `digest`, an index into [`KERNELS`].
pub const DIGEST: usize = 0;
/// `histogram`, an index into [`KERNELS`].
pub const HISTOGRAM: usize = 1;
/// `summary`, an index into [`KERNELS`].
pub const SUMMARY: usize = 2;
/// `correlation`, an index into [`KERNELS`].
pub const CORRELATION: usize = 3;
/// `pages`, an index into [`KERNELS`].
pub const PAGES: usize = 4;
/// `windows`, an index into [`KERNELS`].
pub const WINDOWS: usize = 5;
/// `low_bits`, an index into [`KERNELS`].
pub const LOW_BITS: usize = 6;
/// `magnitudes`, an index into [`KERNELS`].
pub const MAGNITUDES: usize = 7;

/// All shaders. A file under `shaders/` without a row here fails a test.
pub const KERNELS: [Kernel; 8] = [
    Kernel {
        name: "digest",
        parts: &[PARAMS, BLAKE3, include_str!("../../../shaders/digest.wgsl")],
        entries: &["chunks", "blocks"],
        bindings: &[READ, WRITE, WRITE, UNIFORM],
    },
    Kernel {
        name: "histogram",
        parts: &[PARAMS, include_str!("../../../shaders/histogram.wgsl")],
        entries: &["count_bytes", "count_words", "merge"],
        bindings: &[READ, WRITE, WRITE, UNIFORM],
    },
    Kernel {
        name: "summary",
        parts: &[PARAMS, U64, include_str!("../../../shaders/summary.wgsl")],
        entries: &["classes", "merge"],
        bindings: &[READ, WRITE, WRITE, WRITE, UNIFORM],
    },
    Kernel {
        name: "correlation",
        parts: &[PARAMS, CHACHA20, include_str!("../../../shaders/correlation.wgsl")],
        entries: &["correlate"],
        bindings: &[READ, READ, WRITE, WRITE, UNIFORM],
    },
    Kernel {
        name: "pages",
        parts: &[STRUCTURE, U64, include_str!("../../../shaders/pages.wgsl")],
        entries: &["fingerprint"],
        bindings: &[READ, READ, WRITE, UNIFORM],
    },
    Kernel {
        name: "windows",
        parts: &[STRUCTURE, include_str!("../../../shaders/windows.wgsl")],
        entries: &["classes"],
        bindings: &[READ, WRITE, UNIFORM],
    },
    Kernel {
        name: "low_bits",
        parts: &[STRUCTURE, include_str!("../../../shaders/low_bits.wgsl")],
        entries: &["streams"],
        bindings: &[READ, WRITE, WRITE, UNIFORM],
    },
    Kernel {
        name: "magnitudes",
        parts: &[STRUCTURE, include_str!("../../../shaders/magnitudes.wgsl")],
        entries: &["rows", "columns"],
        bindings: &[READ, WRITE, UNIFORM],
    },
];

impl Kernel {
    /// The whole text of the shader.
    pub fn source(&self) -> String {
        self.parts.concat()
    }
}

/// What the host tells the kernels of a tile: `Params` in `shaders/include/params.wgsl`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub first_chunk: [u32; 2],
    pub chunks: u32,
    pub words: u32,
    pub nonce: [u32; 3],
    pub first_block: u32,
    pub width: u32,
    pub mantissa_bits: u32,
    pub limit: u32,
    /// The size of a uniform is a multiple of 16.
    pub padding: u32,
}

/// A shader compiled for a device.
pub(super) struct Compiled {
    layout: BindGroupLayout,
    pipelines: Vec<ComputePipeline>,
    kernel: Kernel,
}

impl Compiled {
    /// Compiles `source`, the text of `kernel`. Errors reach the device's error handler.
    pub fn new(device: &Device, kernel: Kernel, source: String) -> Self {
        let entries: Vec<_> = kernel
            .bindings
            .iter()
            .zip(0..)
            .map(|(ty, binding)| BindGroupLayoutEntry {
                binding,
                visibility: ShaderStages::COMPUTE,
                ty: BindingType::Buffer {
                    ty: *ty,
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let label = Some(kernel.name);
        let layout = device
            .create_bind_group_layout(&BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = device.create_shader_module(ShaderModuleDescriptor {
            label,
            source: ShaderSource::Wgsl(source.into()),
        });
        let pipeline = |entry: &&str| {
            device.create_compute_pipeline(&ComputePipelineDescriptor {
                label,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(entry),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        let pipelines = kernel.entries.iter().map(pipeline).collect();
        Self { layout, pipelines, kernel }
    }

    /// The pipeline of an entry point.
    pub fn entry(&self, name: &str) -> &ComputePipeline {
        let index = self.kernel.entries.iter().position(|entry| *entry == name);
        // Entry names are literals of this crate; a wrong one shows in the first test.
        &self.pipelines[index.unwrap_or(0)]
    }

    /// Binds buffers in the order of the bindings.
    pub fn bind(&self, device: &Device, resources: &[BindingResource<'_>]) -> BindGroup {
        let entries: Vec<_> = resources
            .iter()
            .zip(0..)
            .map(|(resource, binding)| BindGroupEntry { binding, resource: resource.clone() })
            .collect();
        let label = Some(self.kernel.name);
        device.create_bind_group(&BindGroupDescriptor {
            label,
            layout: &self.layout,
            entries: &entries,
        })
    }
}
