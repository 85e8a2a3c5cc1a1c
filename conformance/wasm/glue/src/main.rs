//! `glue MODULE.wasm DIRECTORY`: makes the page's half of what wasm-bindgen left in a module.

use std::env;
use std::error::Error;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let [_, module, directory] = &env::args().collect::<Vec<_>>()[..] else {
        return Err("usage: glue MODULE.wasm DIRECTORY".into());
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).web(true)?.typescript(false);
    bindgen.generate(directory)?;
    Ok(())
}
