//! Which recordings earlier runs cut, under whatever names they had then.
//!
//! A recording is known by its content first: its pieces follow it when it is renamed, also when
//! another recording has taken its old name. Only a name whose recorded content is in no file of
//! that run belongs to a recording that has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dataset::Piece;

use crate::names;
use crate::sources::Source;
use crate::tags;

/// A recording with its content's hash.
pub(crate) struct Song {
    pub(crate) source: Source,
    pub(crate) hash: String,
}

/// A recording to cut.
pub(crate) struct Job {
    pub(crate) song: Song,
    /// Pieces that its own are to replace.
    pub(crate) replaces: Vec<Piece>,
}

impl Job {
    /// Stems of the pieces that are to be replaced.
    pub(crate) fn own_stems(&self) -> BTreeSet<String> {
        stems_of(&self.replaces)
    }
}

/// Stems of pieces.
pub(crate) fn stems_of(pieces: &[Piece]) -> BTreeSet<String> {
    pieces
        .iter()
        .filter_map(|piece| names::stem_of(&piece.path))
        .map(str::to_owned)
        .collect()
}

/// Songs to cut, songs that are cut already, and sources that changed since.
#[derive(Default)]
pub(crate) struct Sorted {
    pub(crate) jobs: Vec<Job>,
    pub(crate) unchanged: usize,
    pub(crate) changed: Vec<Source>,
    /// All pieces of earlier runs, under the names and with the tags that their recordings have
    /// now.
    pub(crate) pieces: Vec<Piece>,
}

/// A recording as earlier runs knew it: name and hash.
type Known = (String, String);

/// Sorts songs by what earlier runs left of them.
///
/// `is_due` says that a piece is missing or must be made again. With `force` every song is cut,
/// also one that has changed.
pub(crate) fn sort_out(
    songs: Vec<Song>,
    pieces: &[Piece],
    force: bool,
    is_due: impl Fn(&Piece) -> bool,
) -> Sorted {
    let mut groups: BTreeMap<Known, Vec<Piece>> = BTreeMap::new();
    for piece in pieces {
        let known = (piece.source.clone(), piece.source_hash.clone());
        groups.entry(known).or_default().push(piece.clone());
    }
    let own = matched(&songs, &groups);
    let mut sorted = Sorted::default();
    // Groups under their own names, now that none is looked for by another.
    let mut own_groups: Vec<Option<Vec<Piece>>> = own
        .into_iter()
        .map(|known| known.and_then(|known| groups.remove(&known)))
        .collect();
    for (song, own_group) in songs.into_iter().zip(&mut own_groups) {
        let Some(mut group) = own_group.take() else {
            let replaced = groups_of_name(&mut groups, &song.source.label, force);
            match replaced {
                NameIs::Free => sorted.jobs.push(Job {
                    song,
                    replaces: Vec::new(),
                }),
                NameIs::Replaced(replaces) => {
                    sorted.pieces.extend(replaces.iter().cloned());
                    sorted.jobs.push(Job { song, replaces });
                }
                NameIs::Taken => sorted.changed.push(song.source),
            }
            continue;
        };
        follow(&mut group, &song);
        sorted.pieces.extend(group.iter().cloned());
        if force || group.iter().any(&is_due) {
            sorted.jobs.push(Job {
                song,
                replaces: group,
            });
        } else {
            sorted.unchanged += 1;
        }
    }
    sorted.pieces.extend(groups.into_values().flatten());
    sorted
}

/// For each song the group of its pieces: that of its name and content, else one of its content
/// whose name is none of a song with that content.
fn matched(songs: &[Song], groups: &BTreeMap<Known, Vec<Piece>>) -> Vec<Option<Known>> {
    let mut open: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (name, hash) in groups.keys() {
        open.entry(hash).or_default().insert(name);
    }
    let mut take = |hash: &str, name: Option<&str>| {
        let names = open.get_mut(hash)?;
        let name = match name {
            Some(name) => names.get(name).copied()?,
            None => names.first().copied()?,
        };
        names.remove(name);
        Some((name.to_owned(), hash.to_owned()))
    };
    let same: Vec<Option<Known>> = songs
        .iter()
        .map(|song| take(&song.hash, Some(&song.source.label)))
        .collect();
    songs
        .iter()
        .zip(same)
        .map(|(song, known)| known.or_else(|| take(&song.hash, None)))
        .collect()
}

/// What is listed under the name of a song with new content.
enum NameIs {
    Free,
    Taken,
    Replaced(Vec<Piece>),
}

fn groups_of_name(groups: &mut BTreeMap<Known, Vec<Piece>>, label: &str, force: bool) -> NameIs {
    let known: Vec<Known> = groups
        .keys()
        .filter(|(name, _)| name == label)
        .cloned()
        .collect();
    if known.is_empty() {
        NameIs::Free
    } else if force {
        let of_name = known.iter().filter_map(|known| groups.remove(known));
        NameIs::Replaced(of_name.flatten().collect())
    } else {
        NameIs::Taken
    }
}

/// Gives pieces the name that their recording has now, and the tags of its sidecar.
fn follow(pieces: &mut [Piece], song: &Song) {
    // Tags that cannot be read now stay as they were; cutting names the file.
    let tags = tags::of(&song.source.path).ok();
    for piece in pieces {
        piece.source.clone_from(&song.source.label);
        if let Some(tags) = &tags {
            piece.tags.clone_from(tags);
        }
    }
}

#[cfg(test)]
mod tests {
    use dataset::{MANIFEST_VERSION, Split};

    use super::*;

    fn piece(source: &str, hash: &str) -> Piece {
        Piece {
            version: MANIFEST_VERSION,
            path: format!("{source}-0001.wav"),
            source: source.to_owned(),
            source_hash: hash.to_owned(),
            start_secs: 0.0,
            end_secs: 1.0,
            start_frame: 0,
            end_frame: 44_100,
            sample_rate_hz: 44_100,
            channels: 2,
            loudness_lufs: None,
            gain_db: 0.0,
            peak: 0.5,
            split: Split::Train,
            content_hash: String::new(),
            tags: Vec::new(),
        }
    }

    fn songs(songs: &[(&str, &str)]) -> Vec<Song> {
        let song = |(label, hash): &(&str, &str)| Song {
            source: Source {
                path: label.into(),
                label: (*label).to_owned(),
            },
            hash: (*hash).to_owned(),
        };
        songs.iter().map(song).collect()
    }

    /// Labels of songs to cut, number of unchanged ones, labels of changed ones.
    fn states(sorted: &Sorted) -> (Vec<&str>, usize, Vec<&str>) {
        let jobs = sorted.jobs.iter().map(|job| job.song.source.label.as_str());
        let changed = sorted.changed.iter().map(|source| source.label.as_str());
        (jobs.collect(), sorted.unchanged, changed.collect())
    }

    fn names(sorted: &Sorted) -> Vec<(&str, &str)> {
        let pieces = sorted.pieces.iter();
        pieces
            .map(|piece| (piece.path.as_str(), piece.source.as_str()))
            .collect()
    }

    #[test]
    fn pieces_follow_their_recording_when_another_takes_its_name() {
        let found = songs(&[("old", "1"), ("take", "2")]);
        let sorted = sort_out(found, &[piece("take", "1")], false, |_| false);
        assert_eq!(states(&sorted), (vec!["take"], 1, vec![]));
        assert_eq!(names(&sorted), [("take-0001.wav", "old")]);
        assert!(sorted.jobs[0].replaces.is_empty());
    }

    #[test]
    fn two_recordings_that_changed_names_are_unchanged() {
        let found = songs(&[("a", "2"), ("b", "1")]);
        let sorted = sort_out(found, &[piece("a", "1"), piece("b", "2")], false, |_| false);
        assert_eq!(states(&sorted), (vec![], 2, vec![]));
        assert_eq!(names(&sorted), [("b-0001.wav", "a"), ("a-0001.wav", "b")]);
    }

    #[test]
    fn a_copy_is_a_song_of_its_own_and_new_content_is_a_change() {
        let found = songs(&[("a", "1"), ("copy", "1"), ("b", "3")]);
        let sorted = sort_out(found, &[piece("a", "1"), piece("b", "2")], false, |_| false);
        assert_eq!(states(&sorted), (vec!["copy"], 1, vec!["b"]));
        assert_eq!(sorted.pieces.len(), 2);
    }

    #[test]
    fn force_replaces_what_is_found_and_keeps_the_rest() {
        let found = songs(&[("a", "1"), ("b", "3"), ("c", "4")]);
        let earlier = [piece("a", "1"), piece("b", "2"), piece("gone", "5")];
        let sorted = sort_out(found, &earlier, true, |_| false);
        assert_eq!(states(&sorted), (vec!["a", "b", "c"], 0, vec![]));
        let replaced: Vec<Vec<&str>> = sorted
            .jobs
            .iter()
            .map(|job| job.replaces.iter().map(|p| p.path.as_str()).collect())
            .collect();
        assert_eq!(replaced, [vec!["a-0001.wav"], vec!["b-0001.wav"], vec![]]);
        assert_eq!(sorted.pieces.len(), 3, "nothing is dropped before its time");
    }
}
