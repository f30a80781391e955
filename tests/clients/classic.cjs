// One live and one file job with the official JavaScript client, versions 3 and 4. Usage: see job.cjs.

const { NO_AUDIO, ended, facts, loadClient, main, nothingHeard, within } = require("./job.cjs");

const { createClient, LiveTranscriptionEvents } = loadClient();

function client(job) {
    return createClient("any", { global: { url: job.base } });
}

async function live(job) {
    const heard = nothingHeard();
    const options = { model: "nova-3", encoding: "linear16", sample_rate: job.rate, channels: 1, interim_results: true, punctuate: true };
    const connection = client(job).listen.live(options);
    const opened = new Promise((resolve) => connection.on(LiveTranscriptionEvents.Open, () => resolve(true)));
    connection.on(LiveTranscriptionEvents.Transcript, heard.take);
    connection.on(LiveTranscriptionEvents.Metadata, heard.take);
    connection.on(LiveTranscriptionEvents.Unhandled, heard.take);
    connection.on(LiveTranscriptionEvents.Error, (error) => heard.errors.push(String(error.message)));
    connection.on(LiveTranscriptionEvents.Close, (event) => heard.onClosed(event.code));
    if (!(await within(10_000, opened))) throw new Error(`the connection did not open: ${heard.errors}`);
    await job.speak((chunk) => connection.send(chunk));
    connection.keepAlive();
    connection.finalize();
    await within(5_000, heard.finalized);
    connection.requestClose();
    return ended(heard);
}

async function file(job) {
    const options = { model: "nova-3", punctuate: true, utterances: true };
    const { result, error } = await client(job).listen.prerecorded.transcribeFile(job.body, options);
    if (error) throw error;
    return facts(result);
}

/** What the client makes of a refused file and of a refused handshake. */
async function refusals(job) {
    const { error } = await client(job).listen.prerecorded.transcribeFile(NO_AUDIO, { model: "nova-3" });
    const connection = client(job).listen.live({ model: "no-such-model" });
    const refused = new Promise((resolve) => {
        connection.on(LiveTranscriptionEvents.Open, () => resolve("opened"));
        // Which of the versions of Node have a socket of their own decides what the error says.
        connection.on(LiveTranscriptionEvents.Error, () => resolve("refused"));
    });
    return { file: [error.status, error.message], live: await within(10_000, refused) };
}

main({ live, file, refusals });
