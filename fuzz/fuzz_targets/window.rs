#![no_main]

use libfuzzer_sys::fuzz_target;
use systemprompt_llm::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::window(input));
