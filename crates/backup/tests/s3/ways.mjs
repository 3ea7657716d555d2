// The ways of buckets that differ by provider, and what such a bucket objects to.
import { existsSync } from "node:fs";
import { join } from "node:path";

// Each: the request, what is set, how many requests there were, and the folder; returns the status, the
// code and the message of an error.
const WAYS = {
  // Of permissions without deletion (403), or of a lock (409).
  refuseDeletes: ({ method }, status) =>
    method === "DELETE" && [status, status === 403 ? "AccessDenied" : "ObjectLocked", "It is kept."],
  // A lock, or Google's role of those who may only create.
  refuseReplacing: ({ method, url }, _, __, directory) =>
    method === "PUT" && existsSync(file(directory, url)) && [403, "AccessDenied", "It exists."],
  slowDown: (_, n, count) => count % n === 0 && [503, "SlowDown", "Please reduce your request rate."],
  // Temporary credentials.
  token: ({ headers }, token) =>
    !(headers["x-amz-security-token"] === token && signed(headers).includes("x-amz-security-token")) &&
    [400, "ExpiredToken", "The provided token has expired."],
  region: ({ headers }, region) =>
    !headers.authorization?.includes(`/${region}/s3/aws4_request`) &&
    [400, "AuthorizationHeaderMalformed", `The region is wrong; expecting '${region}'`],
  redirect: (_, region) =>
    [301, "PermanentRedirect", "Use another address.", { "x-amz-bucket-region": region }],
  error: (_, code) => [code === "ExpiredToken" ? 400 : 403, code, "It is refused."],
  // A lock demands a checksum.
  checksum: ({ method, headers }) =>
    method === "PUT" && !headers["content-md5"] && [400, "InvalidRequest", "Content-MD5 is required."],
  // Older servers know no other checksums, trailers or chunks with signatures.
  plain: ({ headers }) =>
    Object.keys(headers).some((name) => /^x-amz-(trailer|checksum|sdk-checksum|decoded)/.test(name) ||
      /aws-chunked/.test(headers["content-encoding"] ?? "")) &&
    [501, "NotImplemented", "A header is not supported."],
  host: ({ headers }, host) => headers.host !== host && [400, "InvalidBucketName", "Another host."],
  // Google knows no conditions of S3, and answers 404 to the deletion of what does not exist.
  google: ({ method, url, headers }, _, __, directory) => {
    if (method === "PUT" && headers["if-none-match"]) return [400, "InvalidArgument", "No conditions."];
    if (method === "POST") return [400, "InvalidArgument", "No batches."];
    if (Object.keys(headers).some((name) => name.startsWith("x-goog-")))
      return [400, "ExcessHeaderValues", "No mixture."];
    return method === "DELETE" && !existsSync(file(directory, url)) && [404, "NoSuchKey", "It is gone."];
  },
};

export function objection(ways, request, count, directory) {
  for (const [way, set] of Object.entries(ways)) {
    const refused = WAYS[way]?.(request, set, count, directory);
    if (refused) return refused;
  }
}

function signed({ authorization = "" }) {
  return /SignedHeaders=([^,]*)/.exec(authorization)?.[1].split(";") ?? [];
}

function file(directory, url) {
  return join(directory, `${decodeURIComponent(url.split("?")[0])}._S3rver_object`);
}
