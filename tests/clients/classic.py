"""One live and one file job with the official Python client, versions 3 and 4.

Usage: classic.py http://HOST:PORT FILE.wav CHUNK_MS, the file 16-bit PCM; prints one JSON object.
"""

import io
import json
import sys
import threading
import time
import wave

from deepgram import DeepgramClient, DeepgramClientOptions, LiveOptions, LiveTranscriptionEvents, PrerecordedOptions


def live(client, audio, rate, chunk_ms):
    heard = {"finals": [], "interims": 0, "metadata": None, "errors": [], "other": [], "closed": False}
    finalized = threading.Event()

    def on_transcript(_, result, **__):
        if result.is_final:
            heard["finals"].append(result.channel.alternatives[0].transcript)
            assert result.metadata.model_info.arch and result.metadata.request_id
        else:
            heard["interims"] += 1
        if result.from_finalize:
            finalized.set()

    def on_metadata(_, metadata, **__):
        heard["metadata"] = {"duration": metadata.duration, "request_id": metadata.request_id}

    connection = client.listen.websocket.v("1")
    connection.on(LiveTranscriptionEvents.Transcript, on_transcript)
    connection.on(LiveTranscriptionEvents.Metadata, on_metadata)
    connection.on(LiveTranscriptionEvents.Close, lambda *_, **__: heard.update(closed=True))
    connection.on(LiveTranscriptionEvents.Error, lambda _, error, **__: heard["errors"].append(str(error)))
    connection.on(LiveTranscriptionEvents.Unhandled, lambda _, unhandled, **__: heard["other"].append(str(unhandled)))
    options = LiveOptions(model="nova-3", encoding="linear16", sample_rate=rate, channels=1, interim_results=True, punctuate=True)
    assert connection.start(options), "the connection did not start"
    step = rate * 2 * chunk_ms // 1000
    for start in range(0, len(audio), step):
        connection.send(audio[start : start + step])
        time.sleep(chunk_ms / 1000)
    connection.keep_alive()
    connection.finalize()
    heard["finalized"] = finalized.wait(5)
    heard["ended"] = connection.finish()
    return heard


def file(client, body):
    options = PrerecordedOptions(model="nova-3", punctuate=True, utterances=True)
    response = client.listen.rest.v("1").transcribe_file({"buffer": body}, options)
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
    base, path, chunk_ms = sys.argv[1:]
    with open(path, "rb") as opened:
        body = opened.read()
    with wave.open(io.BytesIO(body)) as sound:
        audio, rate = sound.readframes(sound.getnframes()), sound.getframerate()
    client = DeepgramClient("any", DeepgramClientOptions(url=base, options={"keepalive": "true"}))
    outcome = {"live": live(client, audio, rate, int(chunk_ms)), "file": file(client, body), "refusals": refusals(client)}
    print(json.dumps(outcome))


main()
