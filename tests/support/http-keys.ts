import { createServer, type RequestListener } from "node:http";
import { CompactSign, type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK } from "jose";

/** A key pair of an issuer, under a `kid`. */
export type IssuerKey = { alg: string; kid: string; key: CryptoKey; jwk: JWK; pem: string };

export async function issuerKey(alg: "RS256" | "ES256", kid: string): Promise<IssuerKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: "sig" };
  return { alg, kid, key: privateKey, jwk, pem: await exportSPKI(publicKey) };
}

export type Claims = Record<string, unknown>;

/** Signs whatever it is given, right or wrong. */
export const sign = (claims: Claims, key: CryptoKey | Uint8Array, header: { alg: string; [field: string]: unknown }) =>
  new CompactSign(new TextEncoder().encode(JSON.stringify(claims))).setProtectedHeader(header).sign(key);

export const signBy = (issuer: IssuerKey, claims: Claims): Promise<string> =>
  sign(claims, issuer.key, { alg: issuer.alg, kid: issuer.kid });

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
export const now = (): number => Math.floor(Date.now() / 1000);

/** How a key server answers: keys, or otherwise. */
export type KeyAnswer = JWK[] | RequestListener;

export type KeyServer = {
  url: string;
  /** How often it was asked. */
  asked(): number;
  /** From now on it answers so. */
  answer(with_: KeyAnswer): void;
  close(): Promise<void>;
};

/** A server of published keys, on a port of its own. */
export async function startKeyServer(first: KeyAnswer = []): Promise<KeyServer> {
  let [answer, asked] = [first, 0];
  const server = createServer((request, response) => {
    asked++;
    if (typeof answer === "function") return void answer(request, response);
    response.setHeader("content-type", "application/json").end(JSON.stringify({ keys: answer }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || !address) throw new Error("it has no port");
  return {
    url: `http://127.0.0.1:${address.port}/keys.json`,
    asked: () => asked,
    answer(with_) {
      answer = with_;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Says nothing at all. */
export const silent: RequestListener = () => {};
/** Begins an answer that never ends. */
export const halting: RequestListener = (_, response) => void response.write('{"keys":[');
export const saying =
  (status: number, text: string, headers: Record<string, string> = {}): RequestListener =>
  (_, response) =>
    void response.writeHead(status, { "content-type": "application/json", ...headers }).end(text);
