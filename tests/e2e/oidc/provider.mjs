// SPDX-License-Identifier: Apache-2.0
// A real OpenID Connect provider (npm oidc-provider) for test_oidc.py, with a person before it who always says yes. Lines of JSON
// on standard input say who that is and which lie the next tokens tell: what the provider issued is then changed, and where the lie
// is not about the signature, signed anew with its own key.
//   node provider.mjs DIRECTORY PORT REDIRECT_URI; DIRECTORY has key.pem, cert.pem, node_modules
import {readFileSync} from 'node:fs';
import {createServer} from 'node:https';
import {createRequire} from 'node:module';
import {createInterface} from 'node:readline';
import {pathToFileURL} from 'node:url';

for (const name of ['log', 'info', 'warn']) {
  console[name] = console.error; // standard output is for answers
}
const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);
const [folder, port, redirect] = process.argv.slice(2);
const need = createRequire(`${folder}/package.json`);
const load = async (name) => import(pathToFileURL(need.resolve(name)).href);
const {default: Provider} = await load('oidc-provider');
const jose = await load('jose');

const issuer = `https://127.0.0.1:${port}`;
const state = {login: 'alice', amr: [], lie: '', groups: [], keys: 0, tokens: 0, silent: 0};
const makeKey = async (kid, alg) => {
  const {privateKey} = await jose.generateKeyPair(alg, {extractable: true});
  return {...(await jose.exportJWK(privateKey)), kid, alg, use: 'sig'};
};
let keys = [await makeKey('one', 'RS256')];
const signed = (claims, key, kid = key.kid) =>
  jose.importJWK(key, key.alg).then((k) => new jose.SignJWT(claims).setProtectedHeader({alg: key.alg, kid}).sign(k));
const b64 = (o) => Buffer.from(typeof o === 'string' ? o : JSON.stringify(o)).toString('base64url');

const lies = {
  issuer: (c) => signed({...c, iss: 'https://evil.example'}, keys[0]),
  audience: (c) => signed({...c, aud: 'somebody else'}, keys[0]),
  audiences: (c) => signed({...c, aud: [c.aud, 'somebody else']}, keys[0]),
  party: (c) => signed({...c, azp: 'somebody else'}, keys[0]),
  nonce: (c) => signed({...c, nonce: 'another'}, keys[0]),
  'no-nonce': ({nonce, ...c}) => signed(c, keys[0]),
  expired: (c) => signed({...c, exp: c.iat - 3600}, keys[0]),
  old: (c) => signed({...c, iat: c.iat - 7200}, keys[0]),
  future: (c) => signed({...c, iat: c.iat + 7200, exp: c.exp + 7200}, keys[0]),
  'no-expiry': ({exp, ...c}) => signed(c, keys[0]),
  subject: (c) => signed({...c, sub: ''}, keys[0]),
  tampered: (c, [h, , s]) => `${h}.${b64({...c, sub: 'root'})}.${s}`,
  'no-signature': (c, [h, p]) => `${h}.${p}.`,
  none: (c) => `${b64({alg: 'none'})}.${b64(c)}.`,
  'none-signed': (c, [, , s]) => `${b64({alg: 'none', kid: keys[0].kid})}.${b64(c)}.${s}`,
  // The public key as the secret of an HMAC: what takes the algorithm from the header alone falls for it.
  hmac: async (c) => {
    const pem = await jose.exportSPKI(await jose.importJWK({kty: 'RSA', n: keys[0].n, e: keys[0].e}, 'RS256'));
    return new jose.SignJWT(c).setProtectedHeader({alg: 'HS256', kid: keys[0].kid}).sign(Buffer.from(pem));
  },
  'own-key': async (c) => {
    const own = await makeKey('mine', 'RS256');
    const {d, p, q, dp, dq, qi, ...jwk} = own;
    return new jose.SignJWT(c).setProtectedHeader({alg: 'RS256', jwk}).sign(await jose.importJWK(own, 'RS256'));
  },
  'other-key': async (c) => signed(c, await makeKey(keys[0].kid, 'RS256')),
  'unknown-key': (c) => signed(c, keys[0], 'unknown'),
  critical: async (c) =>
    new jose.SignJWT(c).setProtectedHeader({alg: 'RS256', kid: keys[0].kid, crit: ['b64'], b64: true}).sign(await jose.importJWK(keys[0], 'RS256')),
  // Nobody was asked just now, or it is not said.
  stale: (c) => signed({...c, auth_time: c.auth_time - 3600}, keys[0]),
  'no-auth-time': ({auth_time, ...c}) => signed(c, keys[0]),
  garbage: () => 'a.b.c',
  empty: () => '',
  rotated: async (c) => {
    keys = [await makeKey(`key-${++state.keys}`, 'ES256')];
    return signed(c, keys[0]);
  },
};

const provider = new Provider(issuer, {
  clients: [{client_id: 'bulkhead', client_secret: 'a secret of the client', redirect_uris: [redirect], post_logout_redirect_uris: [`${new URL(redirect).origin}/`], grant_types: ['authorization_code'], response_types: ['code']}],
  jwks: {keys},
  pkce: {methods: ['S256'], required: () => true},
  conformIdTokenClaims: false,
  claims: {openid: ['sub', 'groups'], profile: ['name', 'preferred_username'], amr: null},
  cookies: {keys: ['only for tests']},
  features: {devInteractions: {enabled: false}},
  interactions: {url: (_, i) => `/interaction/${i.uid}`},
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({sub, name: `${sub} <b>of the provider</b>`, preferred_username: `${sub}@provider.example`, groups: state.groups}),
  }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId});
    grant.addOIDCScope('openid profile');
    await grant.save();
    return grant;
  },
});
provider.use(async (ctx, next) => {
  if (ctx.path.startsWith('/interaction/')) {
    ctx.respond = false;
    await provider.interactionFinished(ctx.req, ctx.res, {login: {accountId: state.login, amr: state.amr}});
    return;
  }
  if (ctx.path === '/jwks') {
    ctx.body = {keys: keys.map(({d, p, q, dp, dq, qi, ...rest}) => rest)};
    return;
  }
  if (ctx.path === '/token' && state.lie === 'silent') {
    state.silent++;
    ctx.respond = false; // and nothing comes
    return;
  }
  if (ctx.path === '/token' && state.lie === 'huge') {
    ctx.body = {id_token: 'x'.repeat(3 << 20)};
    return;
  }
  await next();
  if (ctx.path === '/token' && ctx.body?.id_token) {
    state.tokens++;
    const parts = ctx.body.id_token.split('.');
    const claims = {...jose.decodeJwt(ctx.body.id_token), ...(state.amr.length ? {amr: state.amr} : {})};
    ctx.body = {...ctx.body, id_token: await (lies[state.lie] ? lies[state.lie](claims, parts) : signed(claims, keys[0]))};
  }
});

const tls = {key: readFileSync(`${folder}/key.pem`), cert: readFileSync(`${folder}/cert.pem`)};
createServer(tls, provider.callback()).listen(Number(port), '127.0.0.1', () => say({ready: true}));
createInterface({input: process.stdin}).on('line', (line) => {
  Object.assign(state, JSON.parse(line));
  say(state);
}).on('close', () => process.exit(0));
