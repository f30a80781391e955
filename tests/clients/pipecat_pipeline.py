"""One live job with pipecat's Deepgram service, in a pipeline with a collector behind it. Usage: see job.py.

Pipecat has no service that sends files to Deepgram.
"""

import asyncio
import sys

from loguru import logger

logger.remove()
logger.add(sys.stderr, level="WARNING")

from pipecat.frames.frames import (  # after the logger is set up: loading it logs
    EndFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.workers.runner import WorkerRunner

from job import Job, nothing_heard, report


class Collector(FrameProcessor):
    """Notes the transcriptions that come by; `answered` is set by the one that answers Finalize."""

    def __init__(self, heard):
        super().__init__()
        self.heard = heard
        self.answered = asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self.heard["finals"].append(frame.text)
            self.heard["request_ids"].add(frame.result.metadata.request_id)
            if frame.finalized:
                self.answered.set()
        elif isinstance(frame, InterimTranscriptionFrame):
            self.heard["interims"] += 1
        await self.push_frame(frame, direction)


async def live(job):
    heard = nothing_heard()
    stt = DeepgramSTTService(api_key="any", base_url=job.base, settings=DeepgramSTTService.Settings(model="nova-3"))
    collector = Collector(heard)
    params = PipelineParams(audio_in_sample_rate=job.rate)
    worker = PipelineWorker(Pipeline([stt, collector]), params=params, enable_rtvi=False, cancel_on_idle_timeout=False)
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(_worker, _frame):
        started.set()

    @worker.event_handler("on_pipeline_error")
    async def on_error(_worker, frame):
        heard["errors"].append(frame.error)

    async def push(audio):
        for chunk in job.chunks(audio):
            await worker.queue_frame(InputAudioRawFrame(audio=chunk, sample_rate=job.rate, num_channels=1))
            await asyncio.sleep(job.pause)

    async def speak():
        await asyncio.wait_for(started.wait(), 30)
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        # A speech detector would say so at the end of the sound: then the service sends Finalize, and the answer has the last words.
        end = len(job.audio.rstrip(b"\0")) // 2 * 2 + 2
        await push(job.audio[:end])
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
        await asyncio.wait_for(collector.answered.wait(), 5)
        heard["finalized"] = True
        await push(job.audio[end:])
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), speak())
    heard["ended"] = True
    return heard


report(asyncio.run(live(Job())), None, None)
