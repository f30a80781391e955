// One live and one file job with the official JavaScript client, version 5. Usage: see job.cjs.

const { NO_AUDIO, ended, facts, loadClient, main, nothingHeard, within } = require("./job.cjs");

const { DeepgramClient, DeepgramError } = loadClient();

function client(job) {
    const socket = job.base.replace("http://", "ws://");
    return new DeepgramClient({ apiKey: "any", environment: { base: job.base, production: socket, agent: socket, agentRest: job.base } });
}

async function live(job) {
    const heard = nothingHeard();
    const options = { model: "nova-3", encoding: "linear16", sample_rate: job.rate, interim_results: true, punctuate: true };
    const socket = await client(job).listen.v1.connect({ ...options, reconnectAttempts: 0 });
    socket.on("message", heard.take);
    socket.on("error", (error) => heard.errors.push(error.message));
    socket.on("close", (event) => heard.onClosed(event.code));
    socket.connect();
    await socket.waitForOpen();
    await job.speak((chunk) => socket.sendMedia(chunk));
    socket.sendKeepAlive({ type: "KeepAlive" });
    socket.sendFinalize({ type: "Finalize" });
    await within(5_000, heard.finalized);
    socket.sendCloseStream({ type: "CloseStream" });
    return ended(heard);
}

async function file(job) {
    const options = { model: "nova-3", punctuate: true, utterances: true };
    return facts(await client(job).listen.v1.media.transcribeFile(job.body, options));
}

/** What the client makes of a refused file and of a refused handshake. */
async function refusals(job) {
    const seen = {};
    try {
        await client(job).listen.v1.media.transcribeFile(NO_AUDIO, { model: "nova-3" });
    } catch (error) {
        if (!(error instanceof DeepgramError)) throw error;
        seen.file = [error.statusCode, error.body.err_code];
    }
    const socket = await client(job).listen.v1.connect({ model: "no-such-model", reconnectAttempts: 0 });
    const refused = new Promise((resolve) => {
        socket.on("open", () => resolve("opened"));
        socket.on("error", (error) => resolve(Number(/\d{3}/.exec(error.message))));
    });
    socket.connect();
    seen.live = await within(10_000, refused);
    return seen;
}

main({ live, file, refusals });
