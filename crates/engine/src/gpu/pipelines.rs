//! The table of kernels: one row of [`KERNELS`] for each shader, with explicit bindings.
//!
//! Automatic layouts would omit the bindings that an entry point does not use, so that the entry points
//! of a shader could not share a bind group.

use super::block_types;
use bytemuck::{Pod, Zeroable};
use std::sync::OnceLock;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::quantised;
use tensorseal_shaders::include::{BLAKE3, BLOCKS, CHACHA20, PARAMS, STRUCTURE, U64};
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor,
    BindGroupLayoutEntry, BindingResource, BindingType, BufferBindingType, ComputePipeline,
    ComputePipelineDescriptor, Device, PipelineCompilationOptions, PipelineLayout,
    PipelineLayoutDescriptor, ShaderModule, ShaderModuleDescriptor, ShaderSource, ShaderStages,
};

/// A shader and how it is bound.
#[derive(Debug, Clone, Copy)]
pub struct ShaderKernel {
    /// The name of the shader and of its CPU twin.
    pub name: &'static str,
    /// The source texts: the includes, then the shader itself.
    pub parts: &'static [&'static str],
    /// The entry points, in the order in which they are dispatched.
    pub entries: &'static [&'static str],
    /// Whether there is a pipeline for each block-quantised type, compiled when it is first needed.
    by_type: bool,
    /// The bindings, by number.
    bindings: &'static [BufferBindingType],
}

const READ: BufferBindingType = BufferBindingType::Storage { read_only: true };
const WRITE: BufferBindingType = BufferBindingType::Storage { read_only: false };
const UNIFORM: BufferBindingType = BufferBindingType::Uniform;

/// The index of `digest` in [`KERNELS`].
pub const DIGEST: usize = 0;
/// The index of `histogram` in [`KERNELS`].
pub const HISTOGRAM: usize = 1;
/// The index of `summary` in [`KERNELS`].
pub const SUMMARY: usize = 2;
/// The index of `correlation` in [`KERNELS`].
pub const CORRELATION: usize = 3;
/// The index of `pages` in [`KERNELS`].
pub const PAGES: usize = 4;
/// The index of `windows` in [`KERNELS`].
pub const WINDOWS: usize = 5;
/// The index of `low_bits` in [`KERNELS`].
pub const LOW_BITS: usize = 6;
/// The index of `magnitudes` in [`KERNELS`].
pub const MAGNITUDES: usize = 7;

/// The index of `codes` in [`KERNELS`].
pub const CODES: usize = 8;
/// The index of `dequantise` in [`KERNELS`].
pub const DEQUANTISE: usize = 9;

/// All shaders. A test fails if a file under `shaders/` has no row here.
pub const KERNELS: [ShaderKernel; 10] = [
    ShaderKernel {
        name: "digest",
        parts: &[PARAMS, BLAKE3, tensorseal_shaders::DIGEST],
        entries: &["chunks", "blocks"],
        by_type: false,
        bindings: &[READ, WRITE, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "histogram",
        parts: &[PARAMS, tensorseal_shaders::HISTOGRAM],
        entries: &["count_bytes", "count_words", "merge"],
        by_type: false,
        bindings: &[READ, WRITE, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "summary",
        parts: &[PARAMS, U64, tensorseal_shaders::SUMMARY],
        entries: &["classes", "merge"],
        by_type: false,
        bindings: &[READ, WRITE, WRITE, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "correlation",
        parts: &[PARAMS, CHACHA20, tensorseal_shaders::CORRELATION],
        entries: &["correlate"],
        by_type: false,
        bindings: &[READ, READ, WRITE, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "pages",
        parts: &[STRUCTURE, U64, tensorseal_shaders::PAGES],
        entries: &["fingerprint"],
        by_type: false,
        bindings: &[READ, READ, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "windows",
        parts: &[STRUCTURE, tensorseal_shaders::WINDOWS],
        entries: &["classes"],
        by_type: false,
        bindings: &[READ, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "low_bits",
        parts: &[STRUCTURE, tensorseal_shaders::LOW_BITS],
        entries: &["streams"],
        by_type: false,
        bindings: &[READ, WRITE, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "magnitudes",
        parts: &[STRUCTURE, tensorseal_shaders::MAGNITUDES],
        entries: &["rows", "columns"],
        by_type: false,
        bindings: &[READ, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "codes",
        parts: &[BLOCKS, tensorseal_shaders::CODES],
        entries: &["count", "merge"],
        by_type: true,
        bindings: &[READ, READ, WRITE, WRITE, UNIFORM],
    },
    ShaderKernel {
        name: "dequantise",
        parts: &[BLOCKS, U64, tensorseal_shaders::DEQUANTISE],
        entries: &["dequantise"],
        by_type: true,
        bindings: &[READ, READ, WRITE, UNIFORM],
    },
];

impl ShaderKernel {
    /// Returns the complete source of the shader.
    pub fn source(&self) -> String {
        self.parts.concat()
    }
}

/// The parameters of the kernels of a tile: `Params` in `shaders/include/params.wgsl`.
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
    /// Unused; the size of a uniform buffer is a multiple of 16 bytes.
    pub padding: u32,
}

/// A shader compiled for a device.
pub(super) struct CompiledKernel {
    layout: BindGroupLayout,
    pipeline_layout: PipelineLayout,
    module: ShaderModule,
    /// The pipelines by entry point.
    pipelines: Vec<ComputePipeline>,
    /// The pipelines by block-quantised type, then by entry point.
    by_type: [OnceLock<Vec<ComputePipeline>>; quantised::TYPE_COUNT],
    kernel: ShaderKernel,
}

impl CompiledKernel {
    /// Compiles `source`, the source of `kernel`. Errors reach the error handler of the device.
    pub(super) fn new(device: &Device, kernel: ShaderKernel, source: String) -> Self {
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
        let by_type = [const { OnceLock::new() }; quantised::TYPE_COUNT];
        let pipelines = Vec::new();
        let mut compiled = Self { layout, pipeline_layout, module, pipelines, by_type, kernel };
        if !kernel.by_type {
            compiled.pipelines = compiled.compile(device, &[]);
        }
        compiled
    }

    /// Creates the pipelines of all entry points, with these values of overrides.
    fn compile(&self, device: &Device, constants: &[(&str, f64)]) -> Vec<ComputePipeline> {
        let pipeline = |entry: &&str| {
            device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(self.kernel.name),
                layout: Some(&self.pipeline_layout),
                module: &self.module,
                entry_point: Some(entry),
                compilation_options: PipelineCompilationOptions {
                    constants,
                    ..PipelineCompilationOptions::default()
                },
                cache: None,
            })
        };
        self.kernel.entries.iter().map(pipeline).collect()
    }

    /// Returns the pipeline of an entry point for a block-quantised type.
    pub(super) fn of_type(&self, device: &Device, name: &str, dtype: Dtype) -> &ComputePipeline {
        let slot = &self.by_type[quantised::type_index(dtype).unwrap_or(0)];
        let pipelines = slot.get_or_init(|| self.compile(device, &block_types::constants(dtype)));
        &pipelines[self.position(name)]
    }

    /// Returns the pipeline of an entry point.
    pub(super) fn entry(&self, name: &str) -> &ComputePipeline {
        &self.pipelines[self.position(name)]
    }

    fn position(&self, name: &str) -> usize {
        let index = self.kernel.entries.iter().position(|entry| *entry == name);
        // Entry names are literals of this crate; a wrong one fails the first test.
        index.unwrap_or(0)
    }

    /// Creates a bind group from resources in the order of the bindings.
    pub(super) fn bind(&self, device: &Device, resources: &[BindingResource<'_>]) -> BindGroup {
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
