//! Writes large, realistic checkpoints for benchmarks, in constant memory.
//!
//!     cargo run --release --example generate_checkpoint -- OUT --size 4GiB --dtype bf16 --shards 2
//!
//! The shapes and names are those of a llama-like transformer, the values normal with a log-normal
//! scale for each row, as in trained networks. To be fast, a row is a stretch of one pool of a
//! million normal values, at an offset and with a scale of its own: statistics per tensor are right,
//! long-range independence is not claimed. `--sparse` writes headers and a file length only.

use clap::{Parser, ValueEnum};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    Bf16,
    F16,
    F32,
}

impl Dtype {
    fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
            Self::F32 => "F32",
        }
    }

    fn bytes(self) -> u64 {
        if self == Self::F32 { 4 } else { 2 }
    }

    fn encode(self, value: f32, out: &mut Vec<u8>) {
        match self {
            Self::Bf16 => out.extend_from_slice(&half::bf16::from_f32(value).to_le_bytes()),
            Self::F16 => out.extend_from_slice(&half::f16::from_f32(value).to_le_bytes()),
            Self::F32 => out.extend_from_slice(&value.to_le_bytes()),
        }
    }
}

/// Writes a realistic checkpoint.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory to write; it must not exist
    out: PathBuf,
    /// Approximate size, such as 512MiB or 4GiB
    #[arg(long, default_value = "1GiB", value_parser = size)]
    size: u64,
    /// Element type
    #[arg(long, value_enum, default_value = "bf16")]
    dtype: Dtype,
    /// Number of files, at most
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// Another seed, other weights
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Headers and file lengths only: every weight is a hole and reads as zero
    #[arg(long)]
    sparse: bool,
}

fn size(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| "expected a size such as 4GiB".to_owned())?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err("expected B, KiB, MiB, GiB or TiB".to_owned()),
    };
    number.checked_mul(1 << shift).ok_or("too large".to_owned())
}

/// xorshift64*: fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Box and Muller, 1958.
    fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

struct Tensor {
    name: String,
    shape: Vec<u64>,
}

/// Tensors of a model of about `elements` elements: as many layers as fit.
fn tensors(elements: u64) -> Vec<Tensor> {
    // A width whose layers are small against the whole, and a vocabulary to go with it.
    let width = (0..)
        .map(|i| 256u64 << i)
        .take_while(|w| 12 * w * w * 8 < elements && *w <= 8192)
        .last()
        .unwrap_or(256);
    let (vocabulary, hidden) = (width * 8, width * 3);
    let mut all =
        vec![Tensor { name: "model.embed_tokens.weight".into(), shape: vec![vocabulary, width] }];
    let mut left = elements.saturating_sub(2 * vocabulary * width);
    for layer in 0.. {
        let square = ["q_proj", "k_proj", "v_proj", "o_proj"]
            .map(|p| (format!("self_attn.{p}"), vec![width, width]));
        let wide = ["gate_proj", "up_proj"].map(|p| (format!("mlp.{p}"), vec![hidden, width]));
        let down = [("mlp.down_proj".to_owned(), vec![width, hidden])];
        let norms =
            ["input_layernorm", "post_attention_layernorm"].map(|n| (n.to_owned(), vec![width]));
        let parts = square.into_iter().chain(wide).chain(down).chain(norms);
        for (part, shape) in parts {
            let size: u64 = shape.iter().product();
            if size > left {
                left = 0;
                break;
            }
            left -= size;
            all.push(Tensor { name: format!("model.layers.{layer}.{part}.weight"), shape });
        }
        if left < 4 * width * width {
            break;
        }
    }
    all.push(Tensor { name: "model.norm.weight".into(), shape: vec![width] });
    all.push(Tensor { name: "lm_head.weight".into(), shape: vec![vocabulary, width] });
    all
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    fs::create_dir(&arguments.out)?;
    let mut random = Random(arguments.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let pool: Vec<f32> = (0..1 << 20).map(|_| random.normal() as f32).collect();
    let all = tensors(arguments.size / arguments.dtype.bytes());
    // As many files as asked for, or a few less: each has the same number of tensors but the last.
    let each = all.len().div_ceil(arguments.shards.clamp(1, all.len()));
    let shards = all.len().div_ceil(each);
    let mut map = serde_json::Map::new();
    let mut total = 0;
    for (index, part) in all.chunks(each).enumerate() {
        let name = match shards {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{shards:05}.safetensors", index + 1),
        };
        total += shard(&arguments.out.join(&name), part, &arguments, &pool, &mut random)?;
        map.extend(part.iter().map(|t| (t.name.clone(), name.clone().into())));
    }
    if shards > 1 {
        let index = serde_json::json!({"metadata": {"total_size": total}, "weight_map": map});
        fs::write(arguments.out.join("model.safetensors.index.json"), index.to_string())?;
    }
    fs::write(arguments.out.join("config.json"), "{\"model_type\": \"llama\"}\n")?;
    println!("{}: {} tensors, {total} bytes", arguments.out.display(), all.len());
    Ok(())
}

/// Writes one file; gives the bytes of its tensors.
fn shard(
    path: &Path,
    tensors: &[Tensor],
    arguments: &Arguments,
    pool: &[f32],
    random: &mut Random,
) -> Result<u64, Box<dyn Error>> {
    let dtype = arguments.dtype;
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.shape.iter().product::<u64>() * dtype.bytes();
        let entry = serde_json::json!({
            "dtype": dtype.name(), "shape": tensor.shape, "data_offsets": [offset, end],
        });
        header.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let mut text = serde_json::Value::Object(header).to_string();
    text.push_str(&" ".repeat((8 - text.len() % 8) % 8));
    let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(text.as_bytes())?;
    if arguments.sparse {
        out.flush()?;
        out.get_ref().set_len(8 + text.len() as u64 + offset)?;
        return Ok(offset);
    }
    let mut row = Vec::new();
    for tensor in tensors {
        let (rows, columns) = match tensor.shape[..] {
            [rows, columns] => (rows, columns as usize),
            _ => (1, tensor.shape.iter().product::<u64>() as usize),
        };
        // Gains of norms lie around one, everything else around zero.
        let centre = if tensor.shape.len() == 1 { 1.0 } else { 0.0 };
        for _ in 0..rows {
            let scale = 0.02 * (0.3 * random.normal()).exp() as f32;
            let start = random.next() as usize;
            row.clear();
            for i in 0..columns {
                dtype.encode(centre + scale * pool[(start.wrapping_add(i)) % pool.len()], &mut row);
            }
            out.write_all(&row)?;
        }
    }
    out.flush()?;
    Ok(offset)
}
