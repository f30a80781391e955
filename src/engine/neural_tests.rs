//! The engine end to end on the reference models.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::engine::batch::{Slot, Token};
use crate::model::archive;
use crate::model::decode::Strategy;
use crate::model::decode::beam::BeamOptions;
use crate::model::lm::NgramModel;
use crate::units::{Frames, StreamId};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle")
}

fn audio(name: &str) -> Vec<f32> {
    let mut reader = hound::WavReader::open(folder().join(name)).unwrap();
    reader
        .samples::<i16>()
        .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
        .collect()
}

struct Model {
    network: Arc<Network>,
    decoder: Arc<Decoder>,
    pieces: Vec<String>,
    expected: Value,
}

impl Model {
    fn load(name: &str, strategy: Strategy) -> Self {
        let published = archive::read(&folder().join(name).join("model.nemo")).unwrap();
        let pieces: Vec<String> = (0..)
            .map_while(|id| published.tokenizer.piece(id).map(str::to_owned))
            .take(published.architecture.vocabulary)
            .collect();
        let network = Network::new(&published.architecture, &published.weights).unwrap();
        let decoder = Decoder::new(&published.architecture, &published.weights, &pieces, strategy).unwrap();
        let expected = serde_json::from_slice(&std::fs::read(folder().join(name).join("expected.json")).unwrap()).unwrap();
        Model {
            network: Arc::new(network),
            decoder: Arc::new(decoder),
            pieces,
            expected,
        }
    }

    fn engine(&self, slots: u32) -> NeuralEngine {
        NeuralEngine::new(Arc::clone(&self.network), Arc::clone(&self.decoder), slots)
    }

    fn right(&self, context: usize) -> usize {
        usize::try_from(self.network.architecture().encoder.contexts[context][1]).unwrap()
    }
}

fn chunk(slot: Slot, seq: u64, samples: &[f32], start: bool, end: bool) -> Chunk {
    Chunk {
        stream: StreamId(u64::from(slot.index)),
        slot,
        seq,
        samples: samples.to_vec(),
        start,
        end,
        commit: false,
        terms: None,
        lm: None,
    }
}

/// An utterance as the chunks of one slot.
fn cut(slot: Slot, right: usize, samples: &[f32]) -> Vec<Chunk> {
    let (first, rest) = samples.split_at((1_280 * right + 200).min(samples.len()));
    let mut parts = vec![first];
    parts.extend(rest.chunks(1_280 * (right + 1)));
    let last = parts.len() - 1;
    parts
        .iter()
        .enumerate()
        .map(|(i, part)| chunk(slot, i as u64, part, i == 0, i == last))
        .collect()
}

fn tokens(decoded: &[Decoded]) -> Vec<Token> {
    decoded.iter().flat_map(|decoded| decoded.fixed.clone()).collect()
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
}

const SLOT: Slot = Slot { index: 0, generation: 1 };

#[test]
fn a_stream_gives_the_reference_tokens_in_every_context() {
    let model = Model::load("stream_hybrid", Strategy::Transducer);
    let mut engine = model.engine(1);
    let samples = audio("audio_a.wav");
    for (context, [left, right]) in model.network.architecture().encoder.contexts.clone().into_iter().enumerate() {
        let mut results = Vec::new();
        for chunk in cut(SLOT, model.right(context), &samples) {
            results.extend(
                engine
                    .step(&Batch {
                        context,
                        chunks: vec![chunk],
                    })
                    .unwrap(),
            );
        }
        let wanted = &model.expected["decode"]["transducer_stream"][format!("att_{left}_{right}")];
        let got = tokens(&results);
        assert_eq!(
            got.iter().map(|token| token.id).collect::<Vec<_>>(),
            numbers(&wanted["tokens"]),
            "context {context}"
        );
        assert_eq!(
            got.iter().map(|token| token.start.0).collect::<Vec<_>>(),
            numbers(&wanted["timestamps"]),
            "context {context}"
        );
        assert_eq!(results.last().unwrap().frames, Frames(101));
    }
}

#[test]
fn the_first_chunk_of_an_utterance_chooses_the_language_model() {
    let arpa = "\\data\\\nngram 1=2\n\n\\1-grams:\n-0.3\tyes\n-0.3\tno\n\n\\end\\\n";
    let lm = Arc::new(NgramModel::from_arpa(arpa.as_bytes()).unwrap());
    let options = BeamOptions::transducer();
    let always = Model::load("stream_hybrid", Strategy::TransducerBeam(options.clone(), Some(Arc::clone(&lm))));
    let mut choosing = Model::load("stream_hybrid", Strategy::Transducer);
    let decoder = Arc::into_inner(choosing.decoder).unwrap();
    choosing.decoder = Arc::new(decoder.with_choices(&choosing.pieces, vec![(options, lm)]).unwrap());
    let samples = audio("audio_a.wav");
    let heard = |engine: &mut NeuralEngine, first: Option<usize>, then: Option<usize>| {
        let mut results = Vec::new();
        for (seq, mut chunk) in cut(SLOT, always.right(0), &samples).into_iter().enumerate() {
            chunk.lm = if seq == 0 { first } else { then };
            let chunks = vec![chunk];
            results.extend(engine.step(&Batch { context: 0, chunks }).unwrap());
        }
        tokens(&results)
    };
    let wanted = heard(&mut always.engine(1), None, None);
    let mut engine = choosing.engine(1);
    assert_eq!(heard(&mut engine, Some(0), Some(0)), wanted);
    let without = heard(&mut engine, None, Some(0));
    assert_ne!(without, wanted, "the slot's next occupant chose none");
    assert_eq!(heard(&mut engine, Some(0), None), wanted);
}

#[test]
fn a_whole_utterance_gives_the_reference_tokens() {
    let samples = audio("audio_a.wav");
    for (name, strategy, part) in [
        ("offline_tdt", Strategy::Transducer, "transducer"),
        ("offline_ctc", Strategy::Ctc, "ctc"),
    ] {
        let model = Model::load(name, strategy);
        let batch = Batch {
            context: 0,
            chunks: vec![chunk(SLOT, 0, &samples, true, true)],
        };
        let results = model.engine(1).step(&batch).unwrap();
        let wanted = &model.expected["decode"][part][if part == "ctc" { "collapsed" } else { "tokens" }];
        assert_eq!(
            tokens(&results).iter().map(|token| token.id).collect::<Vec<_>>(),
            numbers(wanted),
            "{name}"
        );
    }
}

#[test]
fn a_model_for_whole_utterances_refuses_parts() {
    let model = Model::load("offline_ctc", Strategy::Ctc);
    let batch = Batch {
        context: 0,
        chunks: vec![chunk(SLOT, 0, &[0.0; 1_280], true, false)],
    };
    assert!(matches!(model.engine(1).step(&batch), Err(EngineError::Network(_))));
}

/// Sixteen streams that begin at different times in scattered slots give exactly what each gives alone.
#[test]
fn company_and_slot_leave_no_trace() {
    let model = Model::load("stream_hybrid", Strategy::Transducer);
    let samples = audio("audio_a.wav");
    let context = 2;
    let utterance = |n: u32| &samples[n as usize * 1_000..n as usize * 1_000 + 30_000 + n as usize * 777];
    let slot = |n: u32| Slot {
        index: (n * 7 + 3) % 16,
        generation: 40 + n,
    };
    let alone: Vec<Vec<Decoded>> = (0..16)
        .map(|n| {
            let mut engine = model.engine(1);
            let step = |chunk| {
                engine
                    .step(&Batch {
                        context,
                        chunks: vec![chunk],
                    })
                    .unwrap()
            };
            cut(SLOT, model.right(context), utterance(n)).into_iter().flat_map(step).collect()
        })
        .collect();
    assert!(
        alone.iter().filter(|results| !tokens(results).is_empty()).count() > 10,
        "the clips must say something"
    );
    let mut engine = model.engine(16);
    let mut queues: Vec<_> = (0..16)
        .map(|n| cut(slot(n), model.right(context), utterance(n)).into_iter())
        .collect();
    let mut got = vec![Vec::new(); 16];
    for tick in 0_usize.. {
        let ready: Vec<usize> = (0..16).filter(|n| tick >= n % 5).collect();
        let next: Vec<(usize, Chunk)> = ready.iter().filter_map(|n| Some((*n, queues[*n].next()?))).collect();
        if next.is_empty() {
            break;
        }
        let (who, chunks): (Vec<usize>, Vec<Chunk>) = next.into_iter().unzip();
        for (n, decoded) in who.iter().zip(engine.step(&Batch { context, chunks }).unwrap()) {
            got[*n].push(decoded);
        }
    }
    assert_eq!(got, alone);
}

#[test]
fn wrong_slots_generations_and_contexts_are_refused() {
    let model = Model::load("stream_hybrid", Strategy::Ctc);
    let mut engine = model.engine(2);
    let samples = audio("audio_b.wav");
    let right = model.right(1);
    let first = &samples[..1_280 * right + 200];
    let at = |index, generation| Slot { index, generation };
    let mut step = |context, chunks| engine.step(&Batch { context, chunks });
    assert!(matches!(
        step(1, vec![chunk(at(2, 1), 0, first, true, false)]),
        Err(EngineError::NoSuchSlot { index: 2, slots: 2 })
    ));
    assert!(matches!(
        step(1, vec![chunk(at(0, 1), 0, first, false, false)]),
        Err(EngineError::StaleGeneration {
            index: 0,
            held: 0,
            asked: 1
        })
    ));
    assert!(matches!(
        step(7, vec![chunk(at(0, 1), 0, first, true, false)]),
        Err(EngineError::NoSuchContext(7))
    ));
    let twice = vec![chunk(at(0, 1), 0, first, true, false), chunk(at(0, 2), 0, first, true, false)];
    assert!(matches!(step(1, twice), Err(EngineError::Network(_))));
    assert!(
        matches!(
            step(1, vec![chunk(at(0, 1), 0, &samples, true, false)]),
            Err(EngineError::Network(_))
        ),
        "too much audio"
    );
    step(
        1,
        vec![chunk(at(0, 5), 0, first, true, false), chunk(at(1, 6), 0, first, true, false)],
    )
    .unwrap();
    assert!(matches!(
        step(
            1,
            vec![chunk(at(1, 6), 1, &[], false, false), chunk(at(0, 4), 1, &[], false, false)]
        ),
        Err(EngineError::StaleGeneration {
            index: 0,
            held: 5,
            asked: 4
        })
    ));
    let decoded = step(1, vec![chunk(at(0, 5), 1, &[], false, true), chunk(at(1, 6), 1, &[], false, true)]).unwrap();
    assert_eq!(decoded.len(), 2, "the slots are whole after every refusal");
}
