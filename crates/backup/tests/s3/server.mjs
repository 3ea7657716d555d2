// One bucket, `backups`, in a folder. It checks signatures: the key is S3RVER, and so is its secret.
//
// Arguments: the port, the folder, and the ways of the bucket as JSON; ways.mjs says which there are.
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { readFileSync } from "node:fs";
import S3rver from "@20minutes/s3rver";
import { objection } from "./ways.mjs";

const [port, directory, text = "{}"] = process.argv.slice(2);
const ways = JSON.parse(text);
const s3 = new S3rver({
  directory,
  silent: true,
  configureBuckets: [{ name: "backups" }],
  // It verifies only those of requests with the bucket in the path.
  allowMismatchedSignatures: Boolean(ways.host),
});
await s3.configureBuckets();
const serve = s3.callback();

let count = 0;
function answer(request, response) {
  count += 1;
  // Of a client that takes this for its proxy.
  request.url = request.url.replace(/^https?:\/\/[^/]+/, "");
  const refused = objection(ways, request, count, directory);
  if (!refused) {
    if (ways.loseAnswers && request.method === "PUT" && count % ways.loseAnswers === 0) lose(response);
    return serve(request, response);
  }
  const [status, code, message, headers = {}] = refused;
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  // All of it is read, or the client would see the connection end.
  request.resume().on("end", () => {
    response.writeHead(status, { "content-type": "application/xml", ...headers });
    response.end(request.method === "HEAD" || status === 204 ? "" : body);
  });
}

// The request is carried out, and its answer is lost.
function lose(response) {
  response.end = () => response.socket.destroy();
}

const server = ways.certificate
  ? createSecureServer({ cert: readFileSync(ways.certificate), key: readFileSync(ways.key) }, answer)
  : createServer(answer);
server.listen(Number(port), "127.0.0.1");
