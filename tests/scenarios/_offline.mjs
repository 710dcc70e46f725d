// deno-lint-ignore-file explicit-function-return-type -- JavaScript has none
/** For `node --import`: a process without a network. It reaches this machine, and no other one. */
import dns from "node:dns";
import net from "node:net";

const isHere = (host) => net.isIP(host) === 0 ? host === "localhost" : /^(127\.|::1$|0\.0\.0\.0$|::$)/.test(host);
const refusal = (host) =>
  Object.assign(new Error(`no network: ${host} is not this machine`), { code: "ENETUNREACH", syscall: "connect" });

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  const [{ host = "localhost", path }] = typeof args[0] === "object" && !Array.isArray(args[0])
    ? args
    : Array.isArray(args[0])
    ? args[0]
    : [{ host: typeof args[1] === "string" ? args[1] : undefined }];
  if (path !== undefined || isHere(host)) return connect.apply(this, args);
  queueMicrotask(() => this.destroy(refusal(host)));
  return this;
};

for (const target of [dns, dns.promises]) {
  const { lookup } = target;
  target.lookup = (host, ...rest) => {
    if (isHere(host)) return lookup.call(target, host, ...rest);
    const callback = rest.at(-1);
    if (typeof callback !== "function") return Promise.reject(refusal(host));
    queueMicrotask(() => callback(refusal(host)));
  };
}
