//! Times of the GPU engine: start-up, memory, steps, single kernels.
//!
//! `cargo bench --bench gpu -- --models hark-starter-en,114m` runs everything on the card that is there; models of published shapes
//! (`tiny`, `114m`, `0.6b`) get random weights, others are taken from `models/`. `HARK_GPU__DRIVER`, `HARK_GPU__NVRTC` and
//! `HARK_GPU__CACHE` say where the driver, the compiler and compiled kernels are.
//!
//! | argument | meaning |
//! |---|---|
//! | `--models A,B` | models; `hark-starter-en,114m` if not given |
//! | `--parts startup,steps,kernels` | what to measure; all if not given |
//! | `--heads transducer,ctc` | heads to measure steps with; all that the model has if not given |
//! | `--json FILE` | all figures, written anew after every part |
//! | `--copy-gbs N`, `--f16-tflops N` | ceilings measured by others on the same card (`benches/pytorch_gpu.py`): kernels are held against them |
//! | `--slots N`, `--max-batch N` | as in the server's configuration |
//! | `--quick` | few runs: to see that it works |
//! | `--write MODEL FOLDER` | writes a random model as a folder for `hark serve`, with `check.safetensors` for `benches/pytorch_gpu.py`; measures nothing |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs,
    reason = "a benchmark may stop on any error"
)]

#[path = "gpu/kernels.rs"]
mod kernels;
#[path = "support/random_model.rs"]
mod random_model;
#[path = "gpu/steps.rs"]
mod steps;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hark::gpu::{Gpu, Settings};
use hark::model::arch::Architecture;
use hark::model::decode::Strategy;
use hark::model::decode::beam::BeamOptions;
use hark::model::lm::NgramModel;
use hark::model::manifest::Head as ManifestHead;
use hark::model::network::{Network, Scratch, StepInput};
use hark::model::store;
use hark::model::weights::Weights;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

/// A model with the heads that it can be decoded by.
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) arch: Architecture,
    pub(crate) weights: Weights,
    pub(crate) pieces: Vec<String>,
    pub(crate) heads: Vec<Head>,
}

/// One way to decode.
pub(crate) struct Head {
    pub(crate) name: &'static str,
    pub(crate) strategy: Strategy,
}

/// What was asked for.
pub(crate) struct Options {
    pub(crate) settings: Settings,
    pub(crate) slots: Option<usize>,
    pub(crate) max_batch: usize,
    pub(crate) quick: bool,
    /// Bytes a second of a copy, read and written, and operations a second of an f16 product.
    pub(crate) ceilings: [Option<f64>; 2],
}

/// A model of published shape, or one of the folder `models`, or the path of one.
fn load(name: &str) -> Result<Model, Box<dyn Error>> {
    if let Some(arch) = random_model::shape(name) {
        let mut heads = vec![Head {
            name: "transducer",
            strategy: Strategy::Transducer,
        }];
        if arch.ctc {
            heads.push(Head {
                name: "ctc",
                strategy: Strategy::Ctc,
            });
        }
        return Ok(Model {
            name: name.to_owned(),
            weights: random_model::weights(name, &arch),
            pieces: random_model::pieces(&arch),
            heads,
            arch,
        });
    }
    let model = store::resolve(Path::new("models"), name)?;
    let lm = model.manifest.decode.as_ref().and_then(|decode| decode.lm.as_ref());
    let head = match (model.manifest.head(), lm, &model.lm) {
        (ManifestHead::Transducer, _, _) => Head {
            name: "transducer",
            strategy: Strategy::Transducer,
        },
        (ManifestHead::Ctc, Some(settings), Some(file)) => {
            let options = BeamOptions {
                width: settings.beam_width,
                lm_weight: settings.weight,
                word_bonus: settings.word_bonus,
                unknown_penalty: settings.unknown_penalty,
                ..BeamOptions::default()
            };
            Head {
                name: "ctc with a language model",
                strategy: Strategy::CtcBeam(options, Some(Arc::new(NgramModel::open(file)?))),
            }
        }
        (ManifestHead::Ctc, _, _) => Head {
            name: "ctc",
            strategy: Strategy::Ctc,
        },
    };
    Ok(Model {
        name: name.to_owned(),
        pieces: model.tokenizer.pieces().map(str::to_owned).collect(),
        heads: vec![head],
        arch: model.manifest.arch,
        weights: model.weights,
    })
}

/// Writes a random model as a folder, and what the processor makes of some sound with it.
fn write(name: &str, folder: &Path) {
    let arch = random_model::shape(name).unwrap_or_else(|| panic!("{name} is none of {:?}", random_model::NAMES));
    let weights = random_model::weights(name, &arch);
    random_model::write(folder, &arch, &weights);
    let network = Network::new(&arch, &weights).unwrap();
    // The third context, two frames a chunk, for half a second more than one past.
    let (context, right, chunks) = (2, 1, 40);
    let samples: Vec<f32> = (0..1_280 * right + 200 + (chunks - 1) * 1_280 * (right + 1))
        .map(|i| 0.3 * (i as f32 * 0.05).sin() + 0.1 * ((i * i % 9_973) as f32 / 9_973.0 - 0.5))
        .map(|sample: f32| (sample * 32_768.0).round() / 32_768.0)
        .collect();
    let (mut state, mut scratch, mut rows) = (network.new_state(), Scratch::default(), Vec::new());
    let (first, rest) = samples.split_at(1_280 * right + 200);
    for (number, part) in std::iter::once(first).chain(rest.chunks(1_280 * (right + 1))).enumerate() {
        let input = StepInput {
            state: &mut state,
            samples: part,
            start: number == 0,
            end: false,
        };
        rows.extend_from_slice(network.step(context, &mut [input], &mut scratch).unwrap().rows);
    }
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let parts = [
        ("samples", vec![samples.len()], bytes(&samples)),
        ("frames", vec![rows.len() / network.width(), network.width()], bytes(&rows)),
    ];
    let views = parts
        .iter()
        .map(|(name, shape, data)| (*name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.join("check.safetensors")).unwrap();
    println!(
        "{} holds {name}: {} frames of {chunks} chunks checked",
        folder.display(),
        rows.len() / network.width()
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let after = |name: &str, n: usize| {
        arguments
            .iter()
            .position(|a| a == name)
            .and_then(|at| arguments.get(at + n))
            .cloned()
    };
    let value = |name: &str| after(name, 1);
    let list = |name: &str, all: &str| -> Vec<String> {
        value(name)
            .unwrap_or_else(|| all.to_owned())
            .split(',')
            .map(str::to_owned)
            .collect()
    };
    if has("--write") {
        let folder = after("--write", 2).expect("--write MODEL FOLDER");
        return write(&value("--write").unwrap_or_default(), Path::new(&folder));
    }
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let number = |name: &str| value(name).map(|text| text.parse::<f64>().unwrap());
    let options = Options {
        settings: Settings {
            device: 0,
            driver: path("HARK_GPU__DRIVER"),
            nvrtc: path("HARK_GPU__NVRTC"),
            cache: path("HARK_GPU__CACHE"),
        },
        slots: value("--slots").map(|text| text.parse().unwrap()),
        max_batch: value("--max-batch").map_or(hark::config::GPU_BATCH, |text| text.parse().unwrap()),
        quick: has("--quick"),
        ceilings: [number("--copy-gbs").map(|n| n * 1e9), number("--f16-tflops").map(|n| n * 1e12)],
    };
    let parts = list("--parts", "startup,steps,kernels");
    let wanted = |part: &str| parts.iter().any(|name| name == part);
    let mut report = Report {
        path: value("--json").map(PathBuf::from),
        root: Map::new(),
        failed: false,
    };
    // Also makes sure that later openings find the kernels compiled.
    match Gpu::open(&options.settings) {
        Ok(gpu) => println!("{}", gpu.found()),
        Err(error) => {
            eprintln!("gpu: {error}");
            std::process::exit(2);
        }
    }
    if wanted("startup") {
        report.add(None, "startup", steps::startup(&options.settings));
    }
    let heads = value("--heads").map(|_| list("--heads", ""));
    for name in list("--models", "hark-starter-en,114m") {
        let model = match load(&name) {
            Ok(model) => model,
            Err(error) => {
                report.add(Some(&name), "load", Err(error));
                continue;
            }
        };
        let parameters: usize = model.weights.iter().map(|(_, tensor)| tensor.data.len()).sum();
        println!("\n{name}: {:.1} M parameters", parameters as f64 / 1e6);
        report.add(Some(&name), "parameters", Ok(json!(parameters)));
        if wanted("steps") {
            for head in &model.heads {
                if heads
                    .as_ref()
                    .is_none_or(|heads| heads.iter().any(|name| head.name.starts_with(name)))
                {
                    report.add(Some(&name), head.name, steps::model(&model, head, &options));
                }
            }
        }
        if wanted("kernels") {
            report.add(Some(&name), "kernels", kernels::measure(&model, &options));
        }
    }
    if report.failed {
        std::process::exit(1);
    }
}

/// All figures so far; a part that failed has its error in the place of figures.
struct Report {
    path: Option<PathBuf>,
    root: Map<String, Value>,
    failed: bool,
}

impl Report {
    fn add(&mut self, model: Option<&str>, part: &str, figures: Result<Value, Box<dyn Error>>) {
        let figures = figures.unwrap_or_else(|error| {
            eprintln!("gpu: {}{part}: {error}", model.map_or(String::new(), |name| format!("{name}: ")));
            self.failed = true;
            json!({"error": error.to_string()})
        });
        let place = match model {
            Some(name) => {
                let models = self.root.entry("models").or_insert_with(|| json!({})).as_object_mut().unwrap();
                models.entry(name).or_insert_with(|| json!({})).as_object_mut().unwrap()
            }
            None => &mut self.root,
        };
        place.insert(part.to_owned(), figures);
        if let Some(path) = &self.path {
            std::fs::write(path, serde_json::to_vec_pretty(&self.root).unwrap()).unwrap();
        }
    }
}
