//! From the settings of a published configuration to our [`Architecture`], refusing every setting that the network does
//! not implement, with its key and value.
//!
//! Which heads exist is decided by the tensors, not by the configuration's class name. Defaults are those of the
//! published classes (a missing `encoder.xscaling` means true, and so on). Called by the archive reader.

use std::collections::BTreeMap;

use super::config::{Config, ConfigError, Node};
use crate::model::arch::{Architecture, Attention, ConvNorm, Encoder, Frontend, Normalize, Prompt, Transducer};

/// Shapes of the checkpoint's tensors by name.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// Largest value of any size in a configuration.
const MAX_SIZE: i64 = 65_536;
/// Settings of the encoder that do not change its results at inference.
const NEUTRAL: [&str; 20] = [
    "_target_",
    "att_context_probs",
    "att_chunk_context_size",
    "dropout",
    "dropout_pre_encoder",
    "dropout_emb",
    "dropout_att",
    "stochastic_depth_drop_prob",
    "stochastic_depth_mode",
    "stochastic_depth_start_layer",
    "subsampling_conv_chunking_factor",
    "reduction_position",
    "pos_emb_max_len",
    "untie_biases",
    "use_bias",
    "use_pytorch_sdpa",
    "use_pytorch_sdpa_backends",
    "sync_max_audio_length",
    "global_tokens_spacing",
    "global_attn_separate",
];
/// Settings of the encoder that are read or checked below.
const READ: [&str; 21] = [
    "feat_in",
    "n_layers",
    "d_model",
    "feat_out",
    "causal_downsampling",
    "subsampling",
    "subsampling_factor",
    "subsampling_conv_channels",
    "reduction",
    "reduction_factor",
    "ff_expansion_factor",
    "self_attention_model",
    "n_heads",
    "att_context_size",
    "att_context_style",
    "conv_context_style",
    "xscaling",
    "conv_kernel_size",
    "conv_norm_type",
    "conv_context_size",
    "global_tokens",
];

/// Reads the architecture of a checkpoint with these settings and tensors.
pub(super) fn architecture(config: &Config, shapes: &Shapes) -> Result<Architecture, ConfigError> {
    let reader = Reader { config };
    let frontend = reader.frontend()?;
    let encoder = reader.encoder(frontend.mel_bins)?;
    let has = |prefix: &str| shapes.keys().any(|name| name.starts_with(prefix));
    let rows = |name: &str| shapes.get(name).and_then(|shape| shape.first()).map(|rows| rows.saturating_sub(1));
    let ctc = has("decoder.decoder_layers.") || has("ctc_decoder.");
    let vocabulary = rows("decoder.prediction.embed.weight")
        .or_else(|| rows("decoder.decoder_layers.0.weight"))
        .ok_or_else(|| ConfigError::Missing("decoder (the checkpoint has no tensors of a CTC or transducer decoder)".into()))?;
    for key in [
        "decoder.num_classes",
        "decoder.vocab_size",
        "joint.num_classes",
        "aux_ctc.decoder.num_classes",
    ] {
        let used = if key.starts_with("aux_ctc") { has("ctc_decoder.") } else { true };
        if used
            && config
                .integer(key)?
                .is_some_and(|number| number > 0 && usize::try_from(number) != Ok(vocabulary))
        {
            return Err(config.unsupported(key, format!("the tensors have {vocabulary} classes without blank")));
        }
    }
    let transducer = if has("decoder.prediction.") {
        Some(reader.transducer(shapes, vocabulary)?)
    } else {
        None
    };
    let prompt = if has("prompt_kernel.") {
        Some(reader.prompt(encoder.width, shapes)?)
    } else {
        None
    };
    Ok(Architecture {
        frontend,
        encoder,
        vocabulary,
        ctc,
        transducer,
        prompt,
    })
}

/// Typed access with defaults.
struct Reader<'a> {
    config: &'a Config,
}

impl Reader<'_> {
    fn frontend(&self) -> Result<Frontend, ConfigError> {
        let config = self.config;
        self.class("preprocessor._target_", "AudioToMelSpectrogramPreprocessor")?;
        for key in ["sample_rate", "preprocessor.sample_rate"] {
            self.number(key, 16_000.0, 16_000.0)?;
        }
        for (seconds, samples, number) in [("window_size", "n_window_size", 400.0), ("window_stride", "n_window_stride", 160.0)] {
            if config.get(&format!("preprocessor.{samples}"))?.is_some() {
                self.number(&format!("preprocessor.{samples}"), number, number)?;
            } else {
                self.number(&format!("preprocessor.{seconds}"), number / 16_000.0, number / 16_000.0)?;
            }
        }
        for (key, default) in [
            ("n_fft", 512.0),
            ("preemph", 0.97),
            ("lowfreq", 0.0),
            ("highfreq", 8_000.0),
            ("mag_power", 2.0),
            ("log_zero_guard_value", 2f64.powi(-24)),
            ("pad_value", 0.0),
            ("frame_splicing", 1.0),
        ] {
            self.number(&format!("preprocessor.{key}"), default, default)?;
        }
        for (key, only) in [("window", "hann"), ("mel_norm", "slaney"), ("log_zero_guard_type", "add")] {
            self.word(&format!("preprocessor.{key}"), only, only)?;
        }
        for (key, only) in [
            ("log", true),
            ("exact_pad", false),
            ("stft_exact_pad", false),
            ("stft_conv", false),
            ("use_torchaudio", false),
        ] {
            self.switch(&format!("preprocessor.{key}"), only, Some(only))?;
        }
        let mel_bins = self.size("preprocessor.features", Some(64))?;
        if mel_bins != 80 && mel_bins != 128 {
            return Err(config.unsupported("preprocessor.features", "80 or 128"));
        }
        // Absent means per_feature; an explicit null means no normalization.
        let explicit_null = config
            .group("preprocessor")?
            .iter()
            .any(|(name, node)| name == "normalize" && *node == Node::Null);
        let normalize = match config.text("preprocessor.normalize")?.as_deref() {
            None if explicit_null => Normalize::None,
            None | Some("per_feature") => Normalize::PerFeature,
            Some("NA" | "None" | "none") => Normalize::None,
            Some(_) => return Err(config.unsupported("preprocessor.normalize", "NA or per_feature")),
        };
        Ok(Frontend { mel_bins, normalize })
    }

    fn encoder(&self, mel_bins: usize) -> Result<Encoder, ConfigError> {
        let config = self.config;
        self.class("encoder._target_", "ConformerEncoder")?;
        for (name, node) in config.group("encoder")? {
            let known = NEUTRAL.contains(&name.as_str()) || READ.contains(&name.as_str());
            if !known && !matches!(node, Node::Null | Node::Bool(false)) {
                return Err(config.unsupported(&format!("encoder.{name}"), "an unknown setting"));
            }
        }
        self.word("encoder.subsampling", "striding", "dw_striding")?;
        self.number("encoder.subsampling_factor", 4.0, 8.0)?;
        self.word("encoder.self_attention_model", "rel_pos", "rel_pos")?;
        self.number("encoder.global_tokens", 0.0, 0.0)?;
        self.number("encoder.reduction_factor", 1.0, 1.0)?;
        if config.get("encoder.reduction")?.is_some() {
            return Err(config.unsupported("encoder.reduction", "null"));
        }
        if self.size("encoder.feat_in", None)? != mel_bins {
            return Err(config.unsupported("encoder.feat_in", format!("{mel_bins}, as many as preprocessor.features")));
        }
        let width = self.size("encoder.d_model", None)?;
        let heads = self.size("encoder.n_heads", Some(4))?;
        if width % 2 != 0 || width.checked_rem(heads) != Some(0) {
            return Err(config.unsupported(
                "encoder.n_heads",
                format!("a divisor of encoder.d_model = {width}, which must be even"),
            ));
        }
        if config
            .integer("encoder.feat_out")?
            .is_some_and(|out| out > 0 && usize::try_from(out) != Ok(width))
        {
            return Err(config.unsupported("encoder.feat_out", format!("-1 or encoder.d_model = {width}")));
        }
        let subsampling_channels = match config.integer("encoder.subsampling_conv_channels")? {
            None | Some(-1) => width,
            Some(_) => self.size("encoder.subsampling_conv_channels", None)?,
        };
        let conv_norm = match config.text("encoder.conv_norm_type")?.as_deref() {
            None | Some("batch_norm") => ConvNorm::BatchNorm,
            Some("layer_norm") => ConvNorm::LayerNorm,
            Some(_) => return Err(config.unsupported("encoder.conv_norm_type", "batch_norm or layer_norm")),
        };
        let conv_kernel = self.size("encoder.conv_kernel_size", Some(31))?;
        let (attention, contexts) = self.attention()?;
        Ok(Encoder {
            layers: self.size("encoder.n_layers", None)?,
            width,
            heads,
            subsampling_channels,
            causal_subsampling: self.switch("encoder.causal_downsampling", false, None)?,
            ff_expansion: self.size("encoder.ff_expansion_factor", Some(4))?,
            conv_kernel,
            conv_context: self.conv_context(conv_kernel)?,
            conv_norm,
            scale_input: self.switch("encoder.xscaling", true, None)?,
            attention,
            contexts,
        })
    }

    fn conv_context(&self, kernel: usize) -> Result<[usize; 2], ConfigError> {
        let key = "encoder.conv_context_size";
        let sides = match self.config.get(key)? {
            None if kernel % 2 == 1 => return Ok([kernel / 2; 2]),
            Some(Node::Text(text)) if text == "causal" => return Ok([kernel.saturating_sub(1), 0]),
            Some(Node::List(_)) => self.config.integers(key)?.unwrap_or_default(),
            _ => Vec::new(),
        };
        let sides: Vec<usize> = sides.into_iter().filter_map(|side| usize::try_from(side).ok()).collect();
        match *sides.as_slice() {
            [left, right] if left.checked_add(right) == Some(kernel.saturating_sub(1)) => Ok([left, right]),
            _ => Err(self.config.unsupported(
                key,
                "causal, null with an odd kernel, or two sides that add up to the kernel size less one",
            )),
        }
    }

    fn attention(&self) -> Result<(Attention, Vec<[i32; 2]>), ConfigError> {
        let (config, key) = (self.config, "encoder.att_context_size");
        let style = config.text("encoder.att_context_style")?;
        let wrong = |supported: &str| config.unsupported(key, supported);
        let lists: Vec<Vec<i64>> = match config.get(key)? {
            None => vec![if style.as_deref() == Some("chunked_limited_with_rc") {
                vec![-1; 3]
            } else {
                vec![-1; 2]
            }],
            Some(Node::List(items)) if items.iter().all(|item| matches!(item, Node::List(_))) => {
                let numbers = |item: &Node| match item {
                    Node::List(numbers) => numbers
                        .iter()
                        .map(|number| if let Node::Int(value) = number { Some(*value) } else { None })
                        .collect(),
                    _ => None,
                };
                items
                    .iter()
                    .map(numbers)
                    .collect::<Option<_>>()
                    .ok_or_else(|| wrong("lists of whole numbers"))?
            }
            Some(_) => vec![config.integers(key)?.unwrap_or_default()],
        };
        let attention = match style.as_deref() {
            None | Some("regular") => Attention::Regular,
            Some("chunked_limited") => Attention::Chunked,
            // Published for full attention or for chunks with right context; only the former is the same as `regular`.
            Some("chunked_limited_with_rc") if lists.iter().all(|list| *list == [-1, -1, -1]) => {
                return Ok((Attention::Regular, vec![[-1, -1]]));
            }
            Some("chunked_limited_with_rc") => return Err(wrong("[-1, -1, -1] with att_context_style chunked_limited_with_rc")),
            Some(_) => return Err(config.unsupported("encoder.att_context_style", "regular or chunked_limited")),
        };
        if config.text("encoder.conv_context_style")?.is_some_and(|style| style != "regular") {
            return Err(config.unsupported("encoder.conv_context_style", "regular"));
        }
        let mut contexts = Vec::new();
        for list in lists {
            let pair: Vec<i32> = list
                .iter()
                .filter_map(|&side| i32::try_from(side).ok())
                .filter(|side| (-1..=10_000).contains(side))
                .collect();
            let [left, right] = *pair.as_slice() else {
                return Err(wrong("pairs of -1 to 10000"));
            };
            if attention == Attention::Chunked && left > 0 && right >= 0 && left % (right + 1) != 0 {
                return Err(wrong("a left context that is a multiple of the right one plus one"));
            }
            contexts.push([left, right]);
        }
        if contexts.is_empty() || contexts.len() > 64 {
            return Err(wrong("1 to 64 pairs"));
        }
        Ok((attention, contexts))
    }

    fn transducer(&self, shapes: &Shapes, vocabulary: usize) -> Result<Transducer, ConfigError> {
        let config = self.config;
        self.class("decoder._target_", "RNNTDecoder")?;
        self.class("joint._target_", "RNNTJoint")?;
        self.switch("decoder.blank_as_pad", true, Some(true))?;
        self.word("joint.jointnet.activation", "relu", "relu")?;
        if config.get("decoder.normalization_mode")?.is_some() {
            return Err(config.unsupported("decoder.normalization_mode", "null"));
        }
        let prediction_width = self.size("decoder.prednet.pred_hidden", None)?;
        let hidden = config.integer("decoder.prednet.rnn_hidden_size")?;
        if hidden.is_some_and(|hidden| hidden > 0 && usize::try_from(hidden) != Ok(prediction_width)) {
            return Err(config.unsupported(
                "decoder.prednet.rnn_hidden_size",
                format!("absent or {prediction_width}, as pred_hidden"),
            ));
        }
        let outputs = shapes
            .get("joint.joint_net.2.weight")
            .and_then(|shape| shape.first())
            .copied()
            .unwrap_or(0);
        let extra = outputs.saturating_sub(vocabulary.saturating_add(1));
        let mut durations = Vec::new();
        if extra > 0 {
            let key = ["decoding.durations", "model_defaults.tdt_durations", "loss.tdt_kwargs.durations"]
                .into_iter()
                .find(|key| matches!(config.get(key), Ok(Some(_))))
                .ok_or_else(|| ConfigError::Missing("model_defaults.tdt_durations".into()))?;
            let listed = config.integers(key)?.unwrap_or_default();
            durations = listed
                .iter()
                .filter_map(|&length| u32::try_from(length).ok())
                .filter(|&length| length <= 1_000)
                .collect();
            if durations.len() != extra || listed.len() != extra {
                return Err(config.unsupported(key, format!("{extra} durations, one for each extra output of the joint")));
            }
        }
        let max_symbols = match config.integer("decoding.greedy.max_symbols")? {
            None => 10,
            Some(1..=1_000) => self.size("decoding.greedy.max_symbols", None)?,
            Some(_) => return Err(config.unsupported("decoding.greedy.max_symbols", "1 to 1000")),
        };
        Ok(Transducer {
            prediction_width,
            prediction_layers: self.size("decoder.prednet.pred_rnn_layers", Some(1))?,
            joint_width: self.size("joint.jointnet.joint_hidden", None)?,
            max_symbols,
            durations,
        })
    }

    fn prompt(&self, width: usize, shapes: &Shapes) -> Result<Prompt, ConfigError> {
        let config = self.config;
        let columns = shapes
            .get("prompt_kernel.0.weight")
            .and_then(|shape| shape.get(1))
            .copied()
            .unwrap_or(0);
        let slots = columns.saturating_sub(width);
        let mut dictionary = BTreeMap::new();
        for (locale, slot) in config.group("model_defaults.prompt_dictionary")? {
            let slot = if let Node::Int(slot) = slot {
                usize::try_from(*slot).ok().filter(|&slot| slot < slots)
            } else {
                None
            };
            let slot = slot.ok_or_else(|| {
                config.unsupported(
                    "model_defaults.prompt_dictionary",
                    format!("slots 0 to {}", slots.saturating_sub(1)),
                )
            })?;
            dictionary.insert(locale.clone(), slot);
        }
        if dictionary.is_empty() {
            return Err(ConfigError::Missing("model_defaults.prompt_dictionary".into()));
        }
        let default = ["auto", "en-US"]
            .into_iter()
            .find(|locale| dictionary.contains_key(*locale))
            .map(str::to_owned);
        Ok(Prompt {
            slots,
            dictionary,
            default,
        })
    }

    /// A positive size.
    fn size(&self, key: &str, default: Option<usize>) -> Result<usize, ConfigError> {
        match self.config.integer(key)? {
            Some(value) if (1..=MAX_SIZE).contains(&value) => usize::try_from(value).map_err(|_| self.config.unsupported(key, "a size")),
            Some(_) => Err(self.config.unsupported(key, format!("1 to {MAX_SIZE}"))),
            None => default.ok_or_else(|| ConfigError::Missing(key.to_owned())),
        }
    }

    /// A number of which only one value is supported.
    fn number(&self, key: &str, default: f64, only: f64) -> Result<(), ConfigError> {
        let value = match self.config.get(key)? {
            None => default,
            Some(Node::Float(value)) => *value,
            Some(Node::Int(_)) => self.config.text(key)?.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN),
            // Numbers such as `1e-5` that some writers leave as texts.
            Some(Node::Text(text)) => text.parse().map_err(|_| self.config.mistyped(key, "a number"))?,
            Some(_) => return Err(self.config.mistyped(key, "a number")),
        };
        if (value - only).abs() <= only.abs() * 1e-6 {
            Ok(())
        } else {
            Err(self.config.unsupported(key, format!("{only}")))
        }
    }

    /// A word of which only one value is supported.
    fn word(&self, key: &str, default: &str, only: &str) -> Result<(), ConfigError> {
        let value = self.config.text(key)?;
        if value.as_deref().unwrap_or(default) == only {
            Ok(())
        } else {
            Err(self.config.unsupported(key, only))
        }
    }

    /// A switch, of which perhaps only one position is supported.
    fn switch(&self, key: &str, default: bool, only: Option<bool>) -> Result<bool, ConfigError> {
        let value = self.config.flag(key)?.unwrap_or(default);
        match only {
            Some(only) if only != value => Err(self.config.unsupported(key, only.to_string())),
            _ => Ok(value),
        }
    }

    /// A class path, which may be absent.
    fn class(&self, key: &str, only: &str) -> Result<(), ConfigError> {
        match self.config.text(key)? {
            Some(path) if path.rsplit('.').next() != Some(only) => Err(self.config.unsupported(key, only)),
            _ => Ok(()),
        }
    }
}
