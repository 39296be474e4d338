//! What was learned elsewhere.

use larder::fuzzing;
use larder_model::folder;
use larder_policy::freshness::{ClassPool, ClassPriors, Engine, Evidence, Freshness, Loaded};
use larder_policy::learned::Prior;
use larder_policy::{KeyHash, Time};

use crate::{Decoder, file, repair};

pub(crate) fn decoders() -> Vec<Decoder> {
    let general = Prior::general().expect("the one that ships");
    let (model, classes) = (general.to_bytes(), classes());
    let of = |reuse, classes| fuzzing::bundle_of(reuse, classes).to_vec();
    vec![
        Decoder::new("model", prior).costs(10).repaired(repair::at_end).sample(model.clone()),
        // The gate in front of a model from a file, with the scores in its metadata.
        Decoder::new("model-file", model_file).repaired(repair::at_end).sample(model).allocates(4 << 20, 64).costs(50),
        Decoder::new("classes", class_priors).repaired(repair::at_end).sample(classes.to_bytes()),
        Decoder::new("shared-model", bundle)
            .costs(5)
            .repaired(repair::bundle)
            .sample(of(Some(general.clone()), Some(classes.clone())))
            .sample(of(None, Some(classes)))
            .sample(of(None, None)),
    ]
}

fn objective() -> Freshness {
    Freshness::stale_reads(0.01).expect("a share")
}

fn classes() -> ClassPriors {
    let mut engine = Engine::new(objective(), 1);
    for load in 1..40 {
        let key = load % 2;
        let subject = engine.subject(KeyHash::mix(key), ["page:1", "user:1"][key as usize], 100, 0);
        let now = Time(load * 1_000_000);
        engine.read(subject, now, true);
        engine.loaded(subject, now, Loaded::new(now, Evidence::Digest(load)));
    }
    let mut pool = ClassPool::default();
    engine.pool(&mut pool);
    pool.priors().expect("something was learned")
}

fn prior(bytes: &[u8]) {
    match Prior::from_bytes(bytes) {
        Ok(prior) => {
            assert_eq!(prior.to_bytes(), bytes);
            assert!(prior.weights().flatten().all(f32::is_finite) && prior.sureness() > 0.0);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn model_file(bytes: &[u8]) {
    let passed = folder::load(file(bytes).path());
    assert!(passed.is_err() || Prior::from_bytes(bytes).is_ok());
}

fn class_priors(bytes: &[u8]) {
    match ClassPriors::from_bytes(bytes, &objective()) {
        Ok(priors) => assert_eq!(priors.to_bytes(), bytes),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn bundle(bytes: &[u8]) {
    match fuzzing::bundle(bytes, &objective()) {
        Ok(again) => assert_eq!(again, bytes),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
