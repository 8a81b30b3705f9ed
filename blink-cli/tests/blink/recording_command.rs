//! Tests of `--record`, and of the commands that read what was recorded.

use std::path::{Path, PathBuf};

use crate::program::run;

/// The only file of a directory with this ending.
fn file(directory: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = files.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    let [file] = &found[..] else { panic!("{ending}: {found:?}") };
    file.clone()
}

#[test]
fn a_demo_is_recorded_by_both_and_its_files_are_inspected_and_exported() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run(directory.path(), arguments);
    let ended = run(&["demo", "--record", "wav,mp4,rtp-log", "--out", "call", "--json"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    for name in ["alice", "bob"] {
        let own = directory.path().join("call").join(name);
        let mp4 = file(&own, ".mp4");
        let info = run(&["recording", "info", "--json", mp4.to_str().unwrap()]).last();
        assert_eq!((&info["complete"], info["tracks"].as_array().unwrap().len()), (&true.into(), 2), "{info}");
        assert!(info["duration"].as_f64().unwrap() > 5.0, "{info}");
        let log = file(&own, ".rtplog");
        let analysis = run(&["rtp", "analyze", "--json", log.to_str().unwrap()]).last();
        assert!(analysis["tracks"].as_array().unwrap().iter().all(|track| track["lost"] == 0), "{analysis}");
        for (recording, endings) in [(&mp4, [".opus", ".opus"]), (&log, [".rtpdump", ".pcapng"])] {
            let out = format!("exported-{name}/{}", endings[0]);
            let exported = run(&["recording", "export", "--out", &out, "--json", recording.to_str().unwrap()]).last();
            let files: Vec<_> = exported.as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
            assert!(files.iter().zip(endings).all(|(file, ending)| file.ends_with(ending)), "{files:?}");
        }
        let wavs = std::fs::read_dir(&own)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "wav"));
        assert_eq!(wavs.count(), 2);
    }
}

#[test]
fn what_is_no_recording_is_an_error_of_one_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("noise.mp4"), "no recording").unwrap();
    for (arguments, error) in [
        (["recording", "info", "noise.mp4"], "this is no recording"),
        (["recording", "repair", "noise.mp4"], "noise.mp4"),
        (["recording", "export", "missing.mp4"], "missing.mp4"),
        (["rtp", "analyze", "noise.mp4"], "noise.mp4"),
    ] {
        let ended = run(directory.path(), &arguments);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(ended.errors.contains(error), "{ended:?}");
    }
}
