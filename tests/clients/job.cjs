// What the scripts in JavaScript share: their arguments, the client, the pace of a caller, and what they print.
//
// Usage of each: node SCRIPT http://HOST:PORT FILE.wav CHUNK_MS, the file mono 16-bit PCM with a header of 44 bytes, in the folder in
// which the client is installed; prints one JSON object.

const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { setTimeout: sleep } = require("node:timers/promises");

const HEADER = 44;

/** The server, the file as it is (`body`), its samples as bytes (`audio`) and their rate. */
function readJob() {
    const [base, path, chunkMs] = process.argv.slice(2);
    const body = readFileSync(path);
    const job = { base, body, audio: body.subarray(HEADER), rate: body.readUInt32LE(24) };
    const step = Math.floor((job.rate * Number(chunkMs)) / 1000) * 2;
    /** Sends the audio as a caller would. */
    job.speak = async (send) => {
        for (let start = 0; start < job.audio.length; start += step) {
            send(job.audio.subarray(start, start + step));
            await sleep(Number(chunkMs));
        }
    };
    return job;
}

/** The client that is installed in the current folder. */
function loadClient() {
    return createRequire(`${process.cwd()}/`)("@deepgram/sdk");
}

/** What a script fills in while it streams: `take` notes a message, and `finalized` and `closed` are promises. */
function nothingHeard() {
    const heard = { finals: [], interims: 0, duration: null, requestIds: new Set(), errors: [], other: [] };
    heard.finalized = new Promise((resolve) => (heard.onFinalized = resolve));
    heard.closed = new Promise((resolve) => (heard.onClosed = resolve));
    heard.take = (message) => {
        if (message.type === "Results") {
            heard.requestIds.add(message.metadata.request_id);
            if (message.is_final) heard.finals.push(message.channel.alternatives[0].transcript);
            else heard.interims += 1;
            if (message.from_finalize) heard.onFinalized(true);
        } else if (message.type === "Metadata") {
            heard.duration = message.duration;
            heard.requestIds.add(message.request_id);
        } else {
            heard.other.push(message);
        }
    };
    return heard;
}

/** A promise's value, or false if it has none within a time. */
function within(ms, promise) {
    return Promise.race([promise, sleep(ms, false)]);
}

/** What was heard, as the scripts print it, once the stream has ended. */
async function ended(heard) {
    const code = await within(10_000, heard.closed);
    const { finals, interims, duration, requestIds, errors, other } = heard;
    return {
        finals,
        interims,
        finalized: await within(0, heard.finalized),
        ended: code !== false,
        closed: code === 1000,
        duration,
        request_ids: [...requestIds],
        errors,
        other,
    };
}

/** What the answer to a file says. */
function facts({ metadata, results }) {
    const alternative = results.channels[0].alternatives[0];
    return {
        transcript: alternative.transcript,
        words: alternative.words.map((word) => word.word),
        duration: metadata.duration,
        request_id: metadata.request_id,
        utterances: results.utterances.length,
    };
}

/** Runs the script's jobs one after the other and prints what came out. */
async function main({ live, file, refusals }) {
    const job = readJob();
    const outcome = { live: await live(job), file: await file(job), refusals: await refusals(job) };
    console.log(JSON.stringify(outcome));
    // Nothing that a client has left open may hold the script.
    process.exit(0);
}

const NO_AUDIO = Buffer.from("no audio at all, but long enough to be looked at");

module.exports = { NO_AUDIO, ended, facts, loadClient, main, nothingHeard, within };
