import { EnvHttpProxyAgent, setGlobalDispatcher } from "undici";

/** This machine's own addresses are not asked for by way of another one. */
const NEAR = "localhost,127.0.0.1,::1";

/**
 * Both runtimes read the proxies' variables of the process, in either case, and each in its own way: from now on they
 * mean the same on both. Throws where one is no address.
 */
export function settleProxies(env = process.env): void {
  const [http, https, no] = ["http_proxy", "https_proxy", "no_proxy"].map(
    (name) => (env[name] ?? env[name.toUpperCase()])?.trim() || undefined,
  );
  const settled = { http_proxy: http, https_proxy: https ?? http, no_proxy: no ? `${no},${NEAR}` : NEAR };
  if (http === undefined && https === undefined) return;
  for (const [name, value] of Object.entries(settled)) {
    if (value === undefined) continue;
    if (name !== "no_proxy" && !/^https?:$/.test(URL.parse(value)?.protocol ?? "")) {
      throw new Error(`${name.toUpperCase()}: must be an http:// or https:// URL, like http://proxy.example.com:3128`);
    }
    env[name] = value;
    env[name.toUpperCase()] = value;
  }
  if (!process.versions["bun"]) setGlobalDispatcher(new EnvHttpProxyAgent());
}
