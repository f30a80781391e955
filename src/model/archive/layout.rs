//! The tensors that an architecture asks for, by published name and shape: the proof, before anything is converted, that a
//! checkpoint is what its configuration says.
//!
//! Called by the archive reader on import and by the store on every load.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::model::arch::{Architecture, ConvNorm};

/// Why a set of tensors does not fit an architecture.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// A tensor that the architecture asks for is not there.
    #[error("tensor {0} is missing")]
    Missing(String),
    /// A tensor that the architecture has no place for.
    #[error("tensor {0} belongs to nothing that the configuration describes")]
    Unknown(String),
    /// A tensor of another shape.
    #[error("tensor {name} has shape {found:?}, the configuration asks for {wanted:?}")]
    Shape {
        /// Tensor name.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape asked for.
        wanted: Vec<usize>,
    },
    /// A size of the architecture that is zero, too large or contradicts another.
    #[error("architecture size {0} is zero, too large or does not fit the others")]
    Size(&'static str),
    /// Biases that exist in some layers only.
    #[error("tensor {0} is missing, though other layers have such a bias")]
    Bias(String),
}

/// Tensors of these groups serve training or decoding elsewhere and are left out.
const IGNORED: [&str; 9] = [
    "loss.",
    "_loss.",
    "wer.",
    "_wer.",
    "ctc_loss.",
    "ctc_wer.",
    "spec_augmentation.",
    "spec_augment.",
    "interctc.",
];

/// True for tensors that inference needs; others are dropped on import.
pub(super) fn needed(name: &str) -> bool {
    !IGNORED.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with(".num_batches_tracked")
}

/// Mel frequencies left after the three strided convolutions.
fn subsampled_bins(arch: &Architecture) -> usize {
    let halve = |bins: usize| {
        if arch.encoder.causal_subsampling {
            bins / 2 + 1
        } else {
            bins.div_ceil(2)
        }
    };
    (0..3).fold(arch.frontend.mel_bins, |bins, _| halve(bins))
}

/// Proves that exactly the tensors of `arch` are there, with their shapes.
pub fn check(arch: &Architecture, shapes: &BTreeMap<String, Vec<usize>>) -> Result<(), LayoutError> {
    check_sizes(arch)?;
    let list = List::of(arch);
    let mut known = BTreeMap::new();
    for (name, wanted) in &list.required {
        if !shapes.contains_key(name) {
            return Err(LayoutError::Missing(name.clone()));
        }
        known.insert(name, wanted);
    }
    let any_bias = list.biases.iter().any(|(name, _)| shapes.contains_key(name));
    for (name, wanted) in &list.biases {
        if any_bias && !shapes.contains_key(name) {
            return Err(LayoutError::Bias(name.clone()));
        }
        known.insert(name, wanted);
    }
    for (name, found) in shapes {
        let wanted = *known.get(name).ok_or_else(|| LayoutError::Unknown(name.clone()))?;
        if wanted != found {
            return Err(LayoutError::Shape {
                name: name.clone(),
                found: found.clone(),
                wanted: wanted.clone(),
            });
        }
    }
    Ok(())
}

/// Bounds every size, so that sums and products of them cannot overflow and lists of names stay short.
fn check_sizes(arch: &Architecture) -> Result<(), LayoutError> {
    let encoder = &arch.encoder;
    let transducer = arch.transducer.as_ref();
    let head_fits = encoder.width.checked_rem(encoder.heads) == Some(0) && encoder.width.is_multiple_of(2);
    let context_fits = encoder.conv_context.iter().try_fold(1usize, |sum, &side| sum.checked_add(side)) == Some(encoder.conv_kernel);
    for (name, fits) in [
        ("mel_bins", (1..=1_024).contains(&arch.frontend.mel_bins)),
        ("layers", (1..=512).contains(&encoder.layers)),
        ("width", (1..=65_536).contains(&encoder.width)),
        ("heads", head_fits),
        ("subsampling_channels", (1..=65_536).contains(&encoder.subsampling_channels)),
        ("ff_expansion", (1..=64).contains(&encoder.ff_expansion)),
        ("conv_kernel", (1..=1_024).contains(&encoder.conv_kernel)),
        ("conv_context", context_fits),
        ("contexts", (1..=64).contains(&encoder.contexts.len())),
        ("vocabulary", (1..=1 << 18).contains(&arch.vocabulary)),
        ("ctc", arch.ctc || transducer.is_some()),
        (
            "prediction_width",
            transducer.is_none_or(|sizes| (1..=65_536).contains(&sizes.prediction_width)),
        ),
        (
            "prediction_layers",
            transducer.is_none_or(|sizes| (1..=64).contains(&sizes.prediction_layers)),
        ),
        (
            "joint_width",
            transducer.is_none_or(|sizes| (1..=65_536).contains(&sizes.joint_width)),
        ),
        (
            "max_symbols",
            transducer.is_none_or(|sizes| (1..=1_000).contains(&sizes.max_symbols)),
        ),
        ("durations", transducer.is_none_or(|sizes| sizes.durations.len() <= 1_000)),
        (
            "slots",
            arch.prompt.as_ref().is_none_or(|prompt| (1..=65_536).contains(&prompt.slots)),
        ),
    ] {
        if !fits {
            return Err(LayoutError::Size(name));
        }
    }
    Ok(())
}

/// Names and shapes; `biases` are present all or none (`use_bias`).
#[derive(Default)]
struct List {
    required: Vec<(String, Vec<usize>)>,
    biases: Vec<(String, Vec<usize>)>,
}

impl List {
    fn of(arch: &Architecture) -> Self {
        let mut list = List::default();
        let (channels, width) = (arch.encoder.subsampling_channels, arch.encoder.width);
        list.add("preprocessor.featurizer.window", &[400]);
        list.add("preprocessor.featurizer.fb", &[1, arch.frontend.mel_bins, 257]);
        for layer in [0, 2, 5] {
            list.pair(&format!("encoder.pre_encode.conv.{layer}"), &[channels, 1, 3, 3]);
        }
        for layer in [3, 6] {
            list.pair(&format!("encoder.pre_encode.conv.{layer}"), &[channels, channels, 1, 1]);
        }
        list.pair("encoder.pre_encode.out", &[width, channels * subsampled_bins(arch)]);
        for layer in 0..arch.encoder.layers {
            list.block(arch, &format!("encoder.layers.{layer}."));
        }
        let classes = arch.vocabulary + 1;
        if let Some(transducer) = &arch.transducer {
            let (prediction, joint) = (transducer.prediction_width, transducer.joint_width);
            list.add("decoder.prediction.embed.weight", &[classes, prediction]);
            for layer in 0..transducer.prediction_layers {
                for side in ["ih", "hh"] {
                    list.add(
                        format!("decoder.prediction.dec_rnn.lstm.weight_{side}_l{layer}"),
                        &[4 * prediction, prediction],
                    );
                    list.add(format!("decoder.prediction.dec_rnn.lstm.bias_{side}_l{layer}"), &[4 * prediction]);
                }
            }
            list.pair("joint.enc", &[joint, width]);
            list.pair("joint.pred", &[joint, prediction]);
            list.pair("joint.joint_net.2", &[classes + transducer.durations.len(), joint]);
        }
        if arch.ctc {
            let head = if arch.transducer.is_some() { "ctc_decoder" } else { "decoder" };
            list.pair(&format!("{head}.decoder_layers.0"), &[classes, width, 1]);
        }
        if let Some(prompt) = &arch.prompt {
            list.pair("prompt_kernel.0", &[2 * width, width + prompt.slots]);
            list.pair("prompt_kernel.2", &[width, 2 * width]);
        }
        list
    }

    /// One conformer block.
    fn block(&mut self, arch: &Architecture, prefix: &str) {
        let (width, heads, kernel) = (arch.encoder.width, arch.encoder.heads, arch.encoder.conv_kernel);
        let inner = width * arch.encoder.ff_expansion;
        for norm in [
            "norm_feed_forward1",
            "norm_self_att",
            "norm_conv",
            "norm_feed_forward2",
            "norm_out",
            "conv.batch_norm",
        ] {
            self.add(format!("{prefix}{norm}.weight"), &[width]);
            self.add(format!("{prefix}{norm}.bias"), &[width]);
        }
        if arch.encoder.conv_norm == ConvNorm::BatchNorm {
            self.add(format!("{prefix}conv.batch_norm.running_mean"), &[width]);
            self.add(format!("{prefix}conv.batch_norm.running_var"), &[width]);
        }
        for module in ["feed_forward1", "feed_forward2"] {
            self.with_bias(&format!("{prefix}{module}.linear1"), &[inner, width]);
            self.with_bias(&format!("{prefix}{module}.linear2"), &[width, inner]);
        }
        for name in ["linear_q", "linear_k", "linear_v", "linear_out"] {
            self.with_bias(&format!("{prefix}self_attn.{name}"), &[width, width]);
        }
        self.add(format!("{prefix}self_attn.linear_pos.weight"), &[width, width]);
        for bias in ["u", "v"] {
            self.add(format!("{prefix}self_attn.pos_bias_{bias}"), &[heads, width / heads.max(1)]);
        }
        self.with_bias(&format!("{prefix}conv.pointwise_conv1"), &[2 * width, width, 1]);
        self.with_bias(&format!("{prefix}conv.depthwise_conv"), &[width, 1, kernel]);
        self.with_bias(&format!("{prefix}conv.pointwise_conv2"), &[width, width, 1]);
    }

    fn add(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.required.push((name.into(), shape.to_vec()));
    }

    /// A weight and a bias that always exist.
    fn pair(&mut self, name: &str, shape: &[usize]) {
        self.add(format!("{name}.weight"), shape);
        self.add(format!("{name}.bias"), shape.get(..1).unwrap_or_default());
    }

    /// A weight, and a bias that exists with `use_bias`.
    fn with_bias(&mut self, name: &str, shape: &[usize]) {
        self.add(format!("{name}.weight"), shape);
        self.biases
            .push((format!("{name}.bias"), shape.get(..1).unwrap_or_default().to_vec()));
    }
}
