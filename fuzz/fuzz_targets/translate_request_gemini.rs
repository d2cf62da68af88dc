#![no_main]

use libfuzzer_sys::fuzz_target;
use systemprompt_llm::{Format, fuzzing};

fuzz_target!(|input: &[u8]| fuzzing::translated_request(Format::Gemini, input));
