"""One live and one file job with LiveKit's Deepgram plugin, without a LiveKit server. Usage: see job.py."""

import asyncio

import aiohttp
from livekit import rtc
from livekit.agents import APIConnectOptions, APIStatusError
from livekit.agents.stt import SpeechEventType
from livekit.plugins import deepgram

from job import Job, nothing_heard, report


def frame(audio, rate):
    return rtc.AudioFrame(audio, rate, 1, len(audio) // 2)


def client(job, session, model="nova-3"):
    return deepgram.STT(model=model, api_key="any", base_url=f"{job.base}/v1/listen", sample_rate=job.rate, http_session=session)


async def live(stt, job):
    heard = {**nothing_heard(), "turns": 0}
    stt.on("error", lambda error: heard["errors"].append(repr(error.error)))
    stream = stt.stream()

    async def speak():
        for chunk in job.chunks(job.audio):
            stream.push_frame(frame(chunk, job.rate))
            await asyncio.sleep(job.pause)
        # Sends Finalize, then CloseStream.
        stream.end_input()

    async def listen():
        async for event in stream:
            if event.type == SpeechEventType.FINAL_TRANSCRIPT:
                heard["finals"].append(event.alternatives[0].text)
                heard["request_ids"].add(event.request_id)
            elif event.type == SpeechEventType.INTERIM_TRANSCRIPT:
                heard["interims"] += 1
                heard["request_ids"].add(event.request_id)
            elif event.type == SpeechEventType.END_OF_SPEECH:
                heard["turns"] += 1

    await asyncio.wait_for(asyncio.gather(speak(), listen()), 60)
    # The events end when the server has closed; an end that was not asked for is an error.
    heard.update(ended=True, closed=True)
    await stream.aclose()
    return heard


async def file(stt, job):
    event = await stt.recognize(frame(job.audio, job.rate))
    alternative = event.alternatives[0]
    return {
        "transcript": alternative.text,
        "words": [str(word) for word in alternative.words],
        "duration": None,
        "request_id": event.request_id,
        "utterances": None,
    }


async def refusals(stt):
    """What the plugin makes of a refused handshake."""
    try:
        async for _ in stt.stream(conn_options=APIConnectOptions(max_retry=0)):
            pass
    except APIStatusError as error:
        return {"live": error.status_code}


async def main():
    job = Job()
    async with aiohttp.ClientSession() as session:
        stt = client(job, session)
        report(await live(stt, job), await file(stt, job), await refusals(client(job, session, "no-such-model")))


asyncio.run(main())
