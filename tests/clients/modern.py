"""One live and one file job with the official Python client, versions 5 to 7. Usage: see job.py."""

import threading
import time

from websockets.exceptions import InvalidStatus

from deepgram import DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment

from job import Job, nothing_heard, report


def environment(base):
    socket = base.replace("http://", "ws://")
    names = {"base": base, "production": socket, "agent": socket}
    try:
        return DeepgramClientEnvironment(**names, agent_rest=base)
    except TypeError:
        return DeepgramClientEnvironment(**names)


def live(client, job):
    heard = nothing_heard()
    finalized = threading.Event()

    def on_message(message):
        kind = getattr(message, "type", None)
        if kind == "Results":
            heard["request_ids"].add(message.metadata.request_id)
            if message.is_final:
                heard["finals"].append(message.channel.alternatives[0].transcript)
                assert message.metadata.model_info.arch
            else:
                heard["interims"] += 1
            if message.from_finalize:
                finalized.set()
        elif kind == "Metadata":
            heard["duration"] = message.duration
            heard["request_ids"].add(message.request_id)
        else:
            heard["other"].append(kind)

    # Version 6 writes the values as Python does, with capitals.
    options = {"model": "nova-3", "encoding": "linear16", "sample_rate": job.rate, "interim_results": True, "punctuate": True}
    with client.listen.v1.connect(**options) as socket:
        socket.on(EventType.MESSAGE, on_message)
        socket.on(EventType.ERROR, lambda error: heard["errors"].append(repr(error)))
        socket.on(EventType.CLOSE, lambda _: heard.update(closed=True))
        listener = threading.Thread(target=socket.start_listening)
        listener.start()
        for chunk in job.chunks(job.audio):
            send(socket, "media", chunk)
            time.sleep(job.pause)
        send(socket, "keep_alive")
        send(socket, "finalize")
        heard["finalized"] = finalized.wait(5)
        send(socket, "close_stream")
        listener.join(10)
        heard["ended"] = not listener.is_alive()
    return heard


def send(socket, what, *payload):
    """Version 5 has one method for all control messages, later ones have one for each."""
    method = getattr(socket, f"send_{what}", None)
    if method:
        method(*payload)
    else:
        from deepgram.extensions.types.sockets import ListenV1ControlMessage

        names = {"keep_alive": "KeepAlive", "finalize": "Finalize", "close_stream": "CloseStream"}
        socket.send_control(ListenV1ControlMessage(type=names[what]))


def file(client, job):
    def facts(response):
        alternative = response.results.channels[0].alternatives[0]
        return {
            "transcript": alternative.transcript,
            "words": [word.word for word in alternative.words],
            "duration": response.metadata.duration,
            "request_id": response.metadata.request_id,
            "utterances": len(response.results.utterances),
        }

    def parts():
        for start in range(0, len(job.body), 10_000):
            yield job.body[start : start + 10_000]

    options = {"model": "nova-3", "punctuate": True, "utterances": True}
    whole = facts(client.listen.v1.media.transcribe_file(request=job.body, **options))
    chunked = facts(client.listen.v1.media.transcribe_file(request=parts(), **options))
    assert whole["words"] == chunked["words"], (whole, chunked)
    return whole


def refusals(client):
    """What the client makes of a refused file and of a refused handshake."""
    seen = {}
    try:
        client.listen.v1.media.transcribe_file(request=b"no audio at all, but long enough to be looked at", model="nova-3")
    except ApiError as error:
        seen["file"] = [error.status_code, error.body["err_code"]]
    try:
        with client.listen.v1.connect(model="no-such-model"):
            pass
    except ApiError as error:
        seen["live"] = error.status_code
    except InvalidStatus as error:  # what they let through with a websockets package that has two classes for it
        seen["live"] = error.response.status_code
    return seen


def main():
    job = Job()
    client = DeepgramClient(api_key="any", environment=environment(job.base))
    report(live(client, job), file(client, job), refusals(client))


main()
