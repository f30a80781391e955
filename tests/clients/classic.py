"""One live and one file job with the official Python client, versions 3 and 4. Usage: see job.py."""

import threading
import time

from deepgram import DeepgramClient, DeepgramClientOptions, LiveOptions, LiveTranscriptionEvents, PrerecordedOptions

from job import Job, nothing_heard, report


def live(client, job):
    heard = nothing_heard()
    finalized = threading.Event()

    def on_transcript(_, result, **__):
        heard["request_ids"].add(result.metadata.request_id)
        if result.is_final:
            heard["finals"].append(result.channel.alternatives[0].transcript)
            assert result.metadata.model_info.arch
        else:
            heard["interims"] += 1
        if result.from_finalize:
            finalized.set()

    def on_metadata(_, metadata, **__):
        heard["duration"] = metadata.duration
        heard["request_ids"].add(metadata.request_id)

    connection = client.listen.websocket.v("1")
    connection.on(LiveTranscriptionEvents.Transcript, on_transcript)
    connection.on(LiveTranscriptionEvents.Metadata, on_metadata)
    connection.on(LiveTranscriptionEvents.Close, lambda *_, **__: heard.update(closed=True))
    connection.on(LiveTranscriptionEvents.Error, lambda _, error, **__: heard["errors"].append(str(error)))
    connection.on(LiveTranscriptionEvents.Unhandled, lambda _, unhandled, **__: heard["other"].append(str(unhandled)))
    options = LiveOptions(model="nova-3", encoding="linear16", sample_rate=job.rate, channels=1, interim_results=True, punctuate=True)
    assert connection.start(options), "the connection did not start"
    for chunk in job.chunks(job.audio):
        connection.send(chunk)
        time.sleep(job.pause)
    connection.keep_alive()
    connection.finalize()
    heard["finalized"] = finalized.wait(5)
    heard["ended"] = connection.finish()
    return heard


def file(client, job):
    options = PrerecordedOptions(model="nova-3", punctuate=True, utterances=True)
    response = client.listen.rest.v("1").transcribe_file({"buffer": job.body}, options)
    alternative = response.results.channels[0].alternatives[0]
    return {
        "transcript": alternative.transcript,
        "words": [word.word for word in alternative.words],
        "duration": response.metadata.duration,
        "request_id": response.metadata.request_id,
        "utterances": len(response.results.utterances),
    }


def refusals(client):
    """What the client makes of a refused file and of a refused handshake."""
    seen = {}
    try:
        client.listen.rest.v("1").transcribe_file({"buffer": b"no audio at all, but long enough"}, PrerecordedOptions(model="nova-3"))
    except Exception as error:  # the versions have different classes for it
        seen["file"] = str(error)
    connection = client.listen.websocket.v("1")
    seen["live"] = connection.start(LiveOptions(model="no-such-model"))
    return seen


def main():
    job = Job()
    client = DeepgramClient("any", DeepgramClientOptions(url=job.base, options={"keepalive": "true"}))
    report(live(client, job), file(client, job), refusals(client))


main()
