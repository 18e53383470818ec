//! Everything that can go wrong with lyrics, said with the file's name and what to do.

use std::io;
use std::path::PathBuf;

/// Why lyrics could not be read or turned into tokens.
#[derive(Debug, thiserror::Error)]
pub enum LyricsError {
    /// A file cannot be opened or read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is far too large for lyrics.
    #[error(
        "{}: has more than {limit} bytes, which no lyrics have; give the .lrc file itself",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// The file's bytes are not Unicode.
    #[error("{}: is not UTF-8 ({found}); {remedy}", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// What was met, and where.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// The file holds no line with a time.
    #[error(
        "{}: holds no line of lyrics with a time ({detail}); lines look like `[00:12.34]text`, and instrumental music \
         needs no such file",
        path.display()
    )]
    NoLines {
        /// The file.
        path: PathBuf,
        /// How many lines there were, and what was wrong with the first of them.
        detail: String,
    },
    /// A text has neither Latin letters nor Chinese characters.
    #[error(
        "the line {text:?} has no English letter and no Chinese character, so nothing of it can be sung; \
         leave it out, or write it in Latin letters"
    )]
    NoLetters {
        /// The line.
        text: String,
    },
    /// The program espeak-ng is not there.
    #[error(
        "English lyrics need the program espeak-ng, and {} cannot be started ({source}); install it (Debian and Ubuntu: \
         `apt install espeak-ng`, Fedora: `dnf install espeak-ng`, macOS: `brew install espeak-ng`, Windows: `winget install \
         eSpeak-NG.eSpeak-NG`) so that it is on PATH, or name the program in ESPEAK_NG",
        program.display()
    )]
    EspeakMissing {
        /// What was to be started.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// espeak-ng ran and failed.
    #[error(
        "{} failed on English lyrics: {detail}; try `{} -v en-us --ipa hello` by hand, and install espeak-ng again \
         if that fails too",
        program.display(),
        program.display()
    )]
    EspeakFailed {
        /// The program.
        program: PathBuf,
        /// What it said, or how it ended.
        detail: String,
    },
    /// There are Chinese lyrics, and nobody said where the data for them is.
    #[error(
        "Chinese lyrics ({text:?}) need DiffRhythm's lexicon and polyphone model: {}; name the folder that holds them \
         (--lyrics-data)",
        crate::phonemes::chinese::WHAT_IS_NEEDED
    )]
    ChineseDataUnset {
        /// The line that needs them.
        text: String,
    },
    /// A file of the Chinese data is missing.
    #[error(
        "{}: is missing, and Chinese lyrics need it: {}",
        path.display(),
        crate::phonemes::chinese::WHAT_IS_NEEDED
    )]
    ChineseDataMissing {
        /// The file.
        path: PathBuf,
    },
    /// A file of the Chinese data is not what it should be.
    #[error("{}: {detail}; fetch it again from ASLP-lab/DiffRhythm, folder g2p/sources", path.display())]
    ChineseData {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The polyphone model gave no usable answer.
    #[error(
        "the reading of {character:?} in {sentence:?} could not be told: {detail}; check that the polyphone model is \
         the one that ships with DiffRhythm"
    )]
    Polyphone {
        /// The character with several readings.
        character: char,
        /// The text around it.
        sentence: String,
        /// What went wrong.
        detail: String,
    },
}
