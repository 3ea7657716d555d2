// One bucket, `backups`, in a folder. It checks signatures: the key is S3RVER, and so is its secret.
//
// Arguments: the port and the folder.
import S3rver from "@20minutes/s3rver";

const [port, directory] = process.argv.slice(2);
const server = new S3rver({
  address: "127.0.0.1",
  port: Number(port),
  directory,
  silent: true,
  configureBuckets: [{ name: "backups" }],
});
await server.run();
