// Delivers the same events as crates/lectern-aws/examples/deliver_events.rs, with what Node itself has: `http.Agent` with
// keep-alive and `node:crypto`. `node client.mjs JSON` runs for some seconds.

import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";

const { url, messageFile, subscribers, maxInFlight, maxBatch, seconds } = JSON.parse(process.argv[2]);
const text = readFileSync(messageFile, "utf8");
const key = Buffer.alloc(32, 7);
const agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: Infinity });
const ends = performance.now() + 1000 * seconds;
let requests = 0;

/** The CloudEvents envelope of an event of the message. */
function envelope({ id, type, time, data }) {
  return {
    specversion: "1.0",
    id,
    source: "lectern",
    type: `lectern.${type}.v1`,
    subject: `${data.submissionId}/${data.documentId}`,
    time,
    datacontenttype: "application/json",
    data,
  };
}

/** The request that delivers some events, signed by the Standard Webhooks scheme. */
function signed(events) {
  const isBatch = maxBatch > 1;
  const envelopes = events.map(({ event }) => envelope(event));
  const body = Buffer.from(JSON.stringify(isBatch ? envelopes : envelopes[0]));
  const id = isBatch ? createHash("sha1").update(envelopes.map(({ id }) => id).join()).digest("hex") : envelopes[0].id;
  const timestamp = Math.floor(Date.now() / 1000);
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const headers = {
    "content-type": `application/cloudevents${isBatch ? "-batch" : ""}+json; charset=utf-8`,
    "content-length": body.length,
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature}`,
  };
  return { headers, body };
}

function post(path, { headers, body }) {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { method: "POST", agent, headers }, (response) => {
      response.resume();
      response.on("error", reject);
      response.on("end", () =>
        response.statusCode === 204 ? resolve() : reject(new Error(`status ${response.statusCode}`)),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** Keeps `maxInFlight` requests in flight until the message's events are delivered, and begins again. */
async function deliver(path) {
  while (performance.now() < ends) {
    const { events } = JSON.parse(text);
    let next = 0;
    const worker = async () => {
      while (next < events.length) {
        const batch = events.slice(next, (next += maxBatch));
        await post(path, signed(batch));
        requests += 1;
      }
    };
    await Promise.all(Array.from({ length: maxInFlight }, worker));
  }
}

await Promise.all(Array.from({ length: subscribers }, (_, number) => deliver(`/events/subscriber-${number}`)));
const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
const cpuSeconds = (userCPUTime + systemCPUTime) / 1e6;
console.error(JSON.stringify({ requests, cpuSeconds, peakRssKib: maxRSS }));
agent.destroy();
