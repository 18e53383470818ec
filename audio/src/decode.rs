//! Decoding, block by block, with every sample as the file has it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use symphonia::core::audio::sample::Sample;
use symphonia::core::audio::{Audio, AudioBuffer as Planes, GenericAudioBufferRef};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{
    AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions,
};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader, Track};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::default::formats::{
    AdtsReader, FlacReader, IsoMp4Reader, MpaReader, OggReader, WavReader,
};

use crate::aac::{self, ImplicitWatch};
use crate::integrity::{self, Fault, mpeg};
use crate::section::Section;
use crate::sniff::{self, Kind};
use crate::tags;
use crate::{AudioError, SampleFormat, StereoGains};

/// Largest absolute sample, full scale being 1: its square and sums of many such squares are
/// finite in 32 bits too, so that no measurement of a file can be infinite.
const MAX_SAMPLE: f64 = 1e15;

/// Anything bytes can be decoded from.
pub trait Source: Read + Seek + Send + Sync {}
impl<T: Read + Seek + Send + Sync> Source for T {}

/// The coding of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFormat {
    /// RIFF/WAVE.
    Wav,
    /// FLAC, native or in Ogg.
    Flac,
    /// MPEG audio layer 3.
    Mp3,
    /// Vorbis.
    Vorbis,
    /// AAC, low complexity.
    Aac,
}

/// What a source is, known before anything is decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceInfo {
    /// Coding.
    pub format: SourceFormat,
    /// Sample rate in Hz.
    pub sample_rate_hz: u32,
    /// How the channels become stereo; also says how many there are.
    pub stereo_gains: StereoGains,
    /// The format that holds every sample exactly; `None` for lossy codings, whose decoder has
    /// no depth of its own.
    pub sample_format: Option<SampleFormat>,
    /// Length in frames, where the header says it.
    pub frames: Option<u64>,
}

/// A file being decoded.
///
/// ```no_run
/// # fn main() -> Result<(), audio::AudioError> {
/// let mut decoder = audio::Decoder::open("song.flac".as_ref())?;
/// let mut frames = 0;
/// while let Some(planes) = decoder.next_block()? {
///     frames += planes[0].len();
/// }
/// # Ok(())
/// # }
/// ```
pub struct Decoder {
    path: PathBuf,
    info: SourceInfo,
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    aac_watch: Option<ImplicitWatch>,
    planes: Vec<Vec<f64>>,
    frames_decoded: u64,
    is_finished: bool,
    tags: Vec<String>,
    /// The header leaves the length open: the sound ends where the file does.
    is_streamed: bool,
}

impl Decoder {
    /// Opens a file, checks that it is whole as far as its structure tells, and reads its header.
    pub fn open(path: &Path) -> Result<Self, AudioError> {
        let open_error = |source| AudioError::Open {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(open_error)?;
        // A folder opens on Unix, and only fails when read.
        if file.metadata().map_err(open_error)?.is_dir() {
            return Err(open_error(io::ErrorKind::IsADirectory.into()));
        }
        Self::from_source(Box::new(file), path)
    }

    /// The same from any source of bytes; `name` stands for it in errors.
    pub fn from_source(source: Box<dyn Source>, name: &Path) -> Result<Self, AudioError> {
        guarded(name, || Self::build(source, name))
    }

    fn build(mut source: Box<dyn Source>, path: &Path) -> Result<Self, AudioError> {
        let read_error = |source| AudioError::Read {
            path: path.to_owned(),
            source,
        };
        let len = source.seek(SeekFrom::End(0)).map_err(read_error)?;
        if len == 0 {
            return Err(AudioError::Empty {
                path: path.to_owned(),
            });
        }
        let kind = sniff::sniff(&mut source, len).map_err(read_error)?;
        let opened = open_kind(source, kind, len, path)?;
        Self::with_reader(opened, path)
    }

    fn with_reader(opened: Opened, path: &Path) -> Result<Self, AudioError> {
        let (track, params) = first_sound(opened.reader.as_ref(), path)?;
        let format = format_of(params.codec, path)?;
        if let Some(name) = params.extra_data.as_deref().and_then(|config| {
            (format == SourceFormat::Aac)
                .then(|| aac::refused_type(config))
                .flatten()
        }) {
            return Err(unsupported(path, name));
        }
        let options = AudioDecoderOptions::default()
            .gapless(opened.is_gapless)
            .verify(true);
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(&params, &options)
            .map_err(|error| from_symphonia(path, error, "at its start"))?;
        let mut info = describe(format, &track, &params, decoder.codec_params(), path)?;
        if opened.is_streamed {
            // A streaming writer cannot have known what it put into the `fact` chunk either.
            info.frames = None;
        }
        let mut reader = opened.reader;
        Ok(Self {
            path: path.to_owned(),
            tags: tags::of(reader.as_mut()),
            planes: vec![Vec::new(); info.stereo_gains.channels()],
            info,
            reader,
            decoder,
            track_id: track.id,
            aac_watch: (format == SourceFormat::Aac).then(ImplicitWatch::default),
            frames_decoded: 0,
            is_finished: false,
            is_streamed: opened.is_streamed,
        })
    }

    /// Genre, mood, tempo and key, where the file itself tells them.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// What the header says.
    #[must_use]
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next frames, `[channels][frames]`, or `None` at the end.
    ///
    /// The end is only reported when the file held as much sound as its header promised.
    pub fn next_block(&mut self) -> Result<Option<&[Vec<f64>]>, AudioError> {
        let path = self.path.clone();
        let more = guarded(&path, || self.advance())?;
        Ok(more.then_some(self.planes.as_slice()))
    }

    fn advance(&mut self) -> Result<bool, AudioError> {
        while !self.is_finished {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => {
                    self.is_finished = true;
                    self.check_end()?;
                    break;
                }
                Err(error) if self.is_streamed && is_early_end(&error) => {
                    self.is_finished = true;
                    self.check_end()?;
                    break;
                }
                Err(error) => return Err(self.stop(error)),
            };
            if packet.track_id != self.track_id {
                continue;
            }
            if let Some(watch) = &mut self.aac_watch
                && watch.is_high_efficiency(&packet.data)
            {
                self.is_finished = true;
                return Err(unsupported(&self.path, "HE-AAC"));
            }
            if self.decode(&packet)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decodes one packet into the planes; gives the number of frames.
    fn decode(&mut self, packet: &symphonia::core::packet::Packet) -> Result<usize, AudioError> {
        let outcome = match self.decoder.decode(packet) {
            Ok(buffer) => copy_planes(&buffer, &self.info, &mut self.planes),
            Err(error) => return Err(self.stop(error)),
        };
        match outcome {
            Ok(frames) => {
                self.frames_decoded += frames as u64;
                Ok(frames)
            }
            Err(detail) => {
                self.is_finished = true;
                Err(self.damaged(&detail))
            }
        }
    }

    fn check_end(&mut self) -> Result<(), AudioError> {
        if self.frames_decoded == 0 {
            return Err(AudioError::NoFrames {
                path: self.path.clone(),
            });
        }
        if let Some(expected) = self
            .info
            .frames
            .filter(|&frames| frames > self.frames_decoded)
        {
            return Err(self.cut_short(expected));
        }
        if self.decoder.finalize().verify_ok == Some(false) {
            return Err(AudioError::Damaged {
                path: self.path.clone(),
                detail: "its samples do not match their checksum".to_owned(),
            });
        }
        Ok(())
    }

    /// Turns a decoder's error into ours, and ends the stream.
    fn stop(&mut self, error: SymphoniaError) -> AudioError {
        self.is_finished = true;
        match self.info.frames {
            Some(expected) if is_early_end(&error) => self.cut_short(expected),
            _ => from_symphonia(
                &self.path,
                error,
                &format!("at {:.2} s", self.position_secs()),
            ),
        }
    }

    fn cut_short(&self, expected: u64) -> AudioError {
        let rate = f64::from(self.info.sample_rate_hz);
        AudioError::Truncated {
            path: self.path.clone(),
            promised: format!("its header promises {:.2} s", expected as f64 / rate),
            found: format!("only {:.2} s can be decoded", self.position_secs()),
        }
    }

    fn damaged(&self, detail: &str) -> AudioError {
        AudioError::Damaged {
            path: self.path.clone(),
            detail: format!("{detail} at {:.2} s", self.position_secs()),
        }
    }

    fn position_secs(&self) -> f64 {
        self.frames_decoded as f64 / f64::from(self.info.sample_rate_hz)
    }
}

fn is_early_end(error: &SymphoniaError) -> bool {
    matches!(error, SymphoniaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof)
}

/// A container whose structure passed.
struct Opened {
    reader: Box<dyn FormatReader>,
    /// Whether the header leaves the length open.
    is_streamed: bool,
    /// Whether the container's count of frames may be trusted for trimming encoder padding. An
    /// MP3 without a count gets an estimate, and trimming to that would cut music.
    is_gapless: bool,
}

fn open_kind(
    mut source: Box<dyn Source>,
    kind: Kind,
    len: u64,
    path: &Path,
) -> Result<Opened, AudioError> {
    let read_error = |source| AudioError::Read {
        path: path.to_owned(),
        source,
    };
    let (mut start, mut end, mut is_gapless) = (0, len, true);
    let mut is_streamed = false;
    let fault = match kind {
        Kind::Wav => match integrity::wav::check(&mut source, len).map_err(read_error)? {
            Ok(length) => {
                is_streamed = length == integrity::wav::Length::Open;
                None
            }
            Err(fault) => Some(fault),
        },
        Kind::Ogg => integrity::ogg::check(&mut source, len).map_err(read_error)?,
        Kind::Flac { start: at } | Kind::Adts { start: at } => {
            start = at;
            None
        }
        Kind::Mpeg { start: at } => match mpeg::walk(&mut source, at, len).map_err(read_error)? {
            Ok(extent) if extent.layer == 3 => {
                (start, end, is_gapless) = (extent.start, extent.end, extent.has_count);
                None
            }
            Ok(extent) => {
                return Err(unsupported(
                    path,
                    &format!("MPEG audio layer {}", extent.layer),
                ));
            }
            Err(fault) => Some(fault),
        },
        Kind::Mp4 => integrity::mp4::check(&mut source, len).map_err(read_error)?,
        Kind::Unsupported(name) => return Err(unsupported(path, name)),
        Kind::Unknown(found) => {
            return Err(AudioError::NotAudio {
                path: path.to_owned(),
                found,
            });
        }
    };
    if let Some(fault) = fault {
        return Err(from_fault(path, fault));
    }
    let section = Section::new(source, start, end).map_err(read_error)?;
    let stream = MediaSourceStream::new(Box::new(section), MediaSourceStreamOptions::default());
    let options = FormatOptions::default();
    let reader: Result<Box<dyn FormatReader>, SymphoniaError> = match kind {
        Kind::Wav => WavReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        Kind::Flac { .. } => {
            FlacReader::try_new(stream, options).map(|reader| Box::new(reader) as _)
        }
        Kind::Ogg => OggReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        Kind::Mp4 => IsoMp4Reader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        Kind::Adts { .. } => {
            AdtsReader::try_new(stream, options).map(|reader| Box::new(reader) as _)
        }
        _ => MpaReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
    };
    let reader = reader.map_err(|error| from_symphonia(path, error, "in its header"))?;
    Ok(Opened {
        reader,
        is_streamed,
        is_gapless,
    })
}

fn first_sound(
    reader: &dyn FormatReader,
    path: &Path,
) -> Result<(Track, AudioCodecParameters), AudioError> {
    reader
        .tracks()
        .iter()
        .find_map(|track| match &track.codec_params {
            Some(CodecParameters::Audio(params)) => Some((track.clone(), params.clone())),
            _ => None,
        })
        .ok_or_else(|| AudioError::NotAudio {
            path: path.to_owned(),
            found: "it has no sound track that is known here",
        })
}

fn format_of(id: AudioCodecId, path: &Path) -> Result<SourceFormat, AudioError> {
    const REFUSED: &[(AudioCodecId, &str)] = &[
        (codec::CODEC_ID_OPUS, "Opus"),
        (codec::CODEC_ID_SPEEX, "Speex"),
        (codec::CODEC_ID_ALAC, "Apple Lossless (ALAC)"),
        (codec::CODEC_ID_AC3, "AC-3 (Dolby Digital)"),
        (codec::CODEC_ID_EAC3, "E-AC-3 (Dolby Digital Plus)"),
        (codec::CODEC_ID_AC4, "AC-4"),
        (codec::CODEC_ID_DCA, "DTS"),
        (codec::CODEC_ID_MP1, "MPEG audio layer 1"),
        (codec::CODEC_ID_MP2, "MPEG audio layer 2"),
        (codec::CODEC_ID_ADPCM_MS, "ADPCM"),
        (codec::CODEC_ID_ADPCM_IMA_WAV, "ADPCM"),
        (codec::CODEC_ID_ADPCM_IMA_QT, "ADPCM"),
    ];
    match id {
        codec::CODEC_ID_FLAC => Ok(SourceFormat::Flac),
        codec::CODEC_ID_MP3 => Ok(SourceFormat::Mp3),
        codec::CODEC_ID_VORBIS => Ok(SourceFormat::Vorbis),
        codec::CODEC_ID_AAC => Ok(SourceFormat::Aac),
        id if sample_format_of_pcm(id).is_some() => Ok(SourceFormat::Wav),
        id => {
            let name = REFUSED.iter().find(|(refused, _)| *refused == id);
            let name = name.map_or_else(|| format!("codec {id}"), |(_, name)| (*name).to_owned());
            Err(unsupported(path, &name))
        }
    }
}

fn sample_format_of_pcm(id: AudioCodecId) -> Option<SampleFormat> {
    match id {
        codec::CODEC_ID_PCM_U8 | codec::CODEC_ID_PCM_S8 => Some(SampleFormat::U8),
        codec::CODEC_ID_PCM_S16LE
        | codec::CODEC_ID_PCM_S16BE
        | codec::CODEC_ID_PCM_ALAW
        | codec::CODEC_ID_PCM_MULAW => Some(SampleFormat::I16),
        codec::CODEC_ID_PCM_S24LE | codec::CODEC_ID_PCM_S24BE => Some(SampleFormat::I24),
        codec::CODEC_ID_PCM_S32LE | codec::CODEC_ID_PCM_S32BE => Some(SampleFormat::I32),
        codec::CODEC_ID_PCM_F32LE | codec::CODEC_ID_PCM_F32BE => Some(SampleFormat::F32),
        codec::CODEC_ID_PCM_F64LE | codec::CODEC_ID_PCM_F64BE => Some(SampleFormat::F64),
        _ => None,
    }
}

fn describe(
    format: SourceFormat,
    track: &Track,
    params: &AudioCodecParameters,
    decoded: &AudioCodecParameters,
    path: &Path,
) -> Result<SourceInfo, AudioError> {
    let damaged = |detail: String| AudioError::Damaged {
        path: path.to_owned(),
        detail,
    };
    let layout = decoded.channels.as_ref().or(params.channels.as_ref());
    let layout = layout.filter(|layout| layout.count() > 0);
    let layout = layout.ok_or_else(|| damaged("its header names no channels".to_owned()))?;
    let rate = decoded.sample_rate.or(params.sample_rate).unwrap_or(0);
    AudioError::check_rate(rate).map_err(|error| damaged(error.to_string()))?;
    let sample_format = match format {
        SourceFormat::Wav => sample_format_of_pcm(params.codec),
        SourceFormat::Flac => SampleFormat::for_integer_bits(decoded.bits_per_sample.unwrap_or(32)),
        _ => None,
    };
    // Only lossless containers count frames of sound; the others count what an encoder padded.
    let frames = match format {
        SourceFormat::Wav | SourceFormat::Flac => track.num_frames.filter(|&frames| frames > 0),
        _ => None,
    };
    Ok(SourceInfo {
        format,
        sample_rate_hz: rate,
        stereo_gains: StereoGains::for_layout(layout),
        sample_format,
        frames,
    })
}

/// Copies a decoded buffer as `f64`; the error says what is wrong with it.
fn copy_planes(
    buffer: &GenericAudioBufferRef<'_>,
    info: &SourceInfo,
    planes: &mut [Vec<f64>],
) -> Result<usize, String> {
    if buffer.num_planes() != planes.len() {
        let (before, now) = (planes.len(), buffer.num_planes());
        return Err(format!("it changes from {before} to {now} channels"));
    }
    let rate = buffer.spec().rate();
    if rate != info.sample_rate_hz {
        return Err(format!(
            "it changes from {} to {rate} Hz",
            info.sample_rate_hz
        ));
    }
    const TWO_31: f64 = 2_147_483_648.0;
    match buffer {
        GenericAudioBufferRef::U8(b) => fill(b, planes, |v| (f64::from(v) - 128.0) / 128.0),
        GenericAudioBufferRef::U16(b) => fill(b, planes, |v| (f64::from(v) - 32_768.0) / 32_768.0),
        GenericAudioBufferRef::U24(b) => {
            fill(b, planes, |v| (f64::from(v.0) - 8_388_608.0) / 8_388_608.0)
        }
        GenericAudioBufferRef::U32(b) => fill(b, planes, |v| (f64::from(v) - TWO_31) / TWO_31),
        GenericAudioBufferRef::S8(b) => fill(b, planes, |v| f64::from(v) / 128.0),
        GenericAudioBufferRef::S16(b) => fill(b, planes, |v| f64::from(v) / 32_768.0),
        GenericAudioBufferRef::S24(b) => fill(b, planes, |v| f64::from(v.0) / 8_388_608.0),
        GenericAudioBufferRef::S32(b) => fill(b, planes, |v| f64::from(v) / TWO_31),
        GenericAudioBufferRef::F32(b) => fill(b, planes, f64::from),
        GenericAudioBufferRef::F64(b) => fill(b, planes, |v| v),
    }
    let is_finite = |plane: &Vec<f64>| plane.iter().all(|sample| sample.is_finite());
    if !planes.iter().all(is_finite) {
        return Err("it holds samples that are no numbers (NaN or infinity)".to_owned());
    }
    let is_bounded = |plane: &Vec<f64>| plane.iter().all(|sample| sample.abs() <= MAX_SAMPLE);
    if !planes.iter().all(is_bounded) {
        return Err(format!(
            "it holds samples beyond {MAX_SAMPLE:e} times full scale"
        ));
    }
    Ok(planes.first().map_or(0, Vec::len))
}

fn fill<S: Sample>(buffer: &Planes<S>, planes: &mut [Vec<f64>], convert: impl Fn(S) -> f64) {
    for (plane, samples) in planes.iter_mut().zip(buffer.iter_planes()) {
        plane.clear();
        plane.extend(samples.iter().map(|&sample| convert(sample)));
    }
}

fn unsupported(path: &Path, codec: &str) -> AudioError {
    AudioError::Unsupported {
        path: path.to_owned(),
        codec: codec.to_owned(),
    }
}

fn from_fault(path: &Path, fault: Fault) -> AudioError {
    let path = path.to_owned();
    match fault {
        Fault::Truncated { promised, found } => AudioError::Truncated {
            path,
            promised,
            found,
        },
        Fault::Lie { promised, found } => AudioError::LyingHeader {
            path,
            promised,
            found,
        },
        Fault::Damaged(detail) => AudioError::Damaged { path, detail },
    }
}

fn from_symphonia(path: &Path, error: SymphoniaError, place: &str) -> AudioError {
    match error {
        SymphoniaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            AudioError::Truncated {
                path: path.to_owned(),
                promised: "more was to come".to_owned(),
                found: format!("the file ends {place}"),
            }
        }
        // The bit readers report overruns as errors of kind `Other`: content, not the system.
        SymphoniaError::IoError(source) if source.kind() != io::ErrorKind::Other => {
            AudioError::Read {
                path: path.to_owned(),
                source,
            }
        }
        SymphoniaError::Unsupported(feature) => unsupported(path, feature),
        SymphoniaError::ResetRequired => unsupported(path, "several streams chained in one file"),
        error => AudioError::Damaged {
            path: path.to_owned(),
            detail: format!("{error} {place}"),
        },
    }
}

/// Runs third-party decoding; a panic in it becomes an error about the file.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, AudioError>) -> Result<T, AudioError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(AudioError::Damaged {
            path: path.to_owned(),
            detail: "the decoder gave up on it".to_owned(),
        })
    })
}
