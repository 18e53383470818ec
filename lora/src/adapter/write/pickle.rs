//! A dict of tensors as `torch.save` writes it: a zip with `data.pkl` (pickle protocol 2) and one entry for each storage. Only what
//! `torch.load(weights_only=True)` allows is written.

use super::zip::Archive;

/// `{"lora_state_dict": {name: tensor}, "step": step}` and further numbers, f32.
pub(super) struct StateDict {
    numbers: Vec<(&'static str, usize)>,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl StateDict {
    pub(super) fn new(step: usize) -> Self {
        Self {
            numbers: vec![("step", step)],
            tensors: Vec::new(),
        }
    }

    /// A number beside the dict of tensors.
    pub(super) fn number(&mut self, name: &'static str, value: usize) {
        self.numbers.push((name, value));
    }

    /// A contiguous tensor.
    pub(super) fn push(&mut self, name: String, shape: Vec<usize>, values: Vec<f32>) {
        self.tensors.push((name, shape, values));
    }

    /// The whole file.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut archive = Archive::default();
        archive.entry("archive/data.pkl", &self.pickle()?)?;
        archive.entry("archive/byteorder", b"little")?;
        for (number, (_, _, values)) in self.tensors.iter().enumerate() {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            archive.entry(&format!("archive/data/{number}"), &bytes)?;
        }
        archive.entry("archive/version", b"3\n")?;
        archive.finish()
    }

    fn pickle(&self) -> Result<Vec<u8>, String> {
        let mut pickle = Pickle(vec![PROTO, 2]);
        pickle.code(EMPTY_DICT).code(MARK);
        pickle.text("lora_state_dict")?.code(EMPTY_DICT).code(MARK);
        for (number, (name, shape, values)) in self.tensors.iter().enumerate() {
            pickle.text(name)?;
            pickle.tensor(number, shape, values.len())?;
        }
        pickle.code(SETITEMS);
        for (name, value) in &self.numbers {
            pickle.text(name)?.int(*value)?;
        }
        pickle.code(SETITEMS).code(STOP);
        Ok(pickle.0)
    }
}

// Opcodes of protocol 2 (Lib/pickletools.py of CPython).
const PROTO: u8 = 0x80;
const EMPTY_DICT: u8 = b'}';
const MARK: u8 = b'(';
const SETITEMS: u8 = b'u';
const STOP: u8 = b'.';
const TUPLE: u8 = b't';
const EMPTY_TUPLE: u8 = b')';
const REDUCE: u8 = b'R';
const NEW_FALSE: u8 = 0x89;
const BINPERSID: u8 = b'Q';
const GLOBAL: u8 = b'c';
const BINUNICODE: u8 = b'X';
const BININT: u8 = b'J';

struct Pickle(Vec<u8>);

impl Pickle {
    fn code(&mut self, code: u8) -> &mut Self {
        self.0.push(code);
        self
    }

    fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.code(GLOBAL);
        self.0
            .extend_from_slice(format!("{module}\n{name}\n").as_bytes());
        self
    }

    fn text(&mut self, text: &str) -> Result<&mut Self, String> {
        let length = u32::try_from(text.len()).map_err(|error| error.to_string())?;
        self.code(BINUNICODE);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        Ok(self)
    }

    fn int(&mut self, value: usize) -> Result<&mut Self, String> {
        let value = i32::try_from(value)
            .map_err(|_| format!("{value} is too large a number for the original's format"))?;
        self.code(BININT);
        self.0.extend_from_slice(&value.to_le_bytes());
        Ok(self)
    }

    fn ints(&mut self, values: &[usize]) -> Result<&mut Self, String> {
        self.code(MARK);
        for value in values {
            self.int(*value)?;
        }
        Ok(self.code(TUPLE))
    }

    /// `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`, row by row.
    fn tensor(&mut self, number: usize, shape: &[usize], count: usize) -> Result<(), String> {
        let mut strides = vec![1; shape.len()];
        for index in (1..shape.len()).rev() {
            strides[index - 1] = strides[index] * shape[index];
        }
        self.global("torch._utils", "_rebuild_tensor_v2").code(MARK);
        self.code(MARK).text("storage")?;
        self.global("torch", "FloatStorage");
        self.text(&number.to_string())?.text("cpu")?.int(count)?;
        self.code(TUPLE).code(BINPERSID);
        self.int(0)?.ints(shape)?.ints(&strides)?;
        self.code(NEW_FALSE);
        self.global("collections", "OrderedDict")
            .code(EMPTY_TUPLE)
            .code(REDUCE);
        self.code(TUPLE).code(REDUCE);
        Ok(())
    }
}
