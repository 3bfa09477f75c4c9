// SPDX-License-Identifier: Apache-2.0
// Security keys (WebAuthn). The API speaks base64url, and names of its own, where the browser wants bytes and those of the standard.
import {ApiError} from '../api/client';

export function toBytes(text: string): ArrayBuffer {
  const plain = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
  const bytes = new Uint8Array(plain.length);
  for (let i = 0; i < plain.length; i++) {
    bytes[i] = plain.charCodeAt(i);
  }
  return bytes.buffer;
}

export function toText(bytes: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replace(/=+$/, '');
}

/** What the manager wants signed. */
export interface AssertionOptions {
  challenge: string;
  rp_id: string;
  timeout_ms?: number;
  user_verification?: UserVerificationRequirement;
  /** Keys that the account has. */
  allow?: string[];
}

export interface CreationOptions {
  challenge: string;
  rp: {id: string; name: string};
  user: {id: string; name: string; display: string};
  algorithms: number[];
  /** Keys that are there already. */
  exclude?: string[];
  timeout_ms?: number;
  user_verification?: UserVerificationRequirement;
  attestation?: AttestationConveyancePreference;
}

const keys = (ids: string[] | undefined): PublicKeyCredentialDescriptor[] => (ids ?? []).map((id) => ({type: 'public-key', id: toBytes(id)}));
const timeout = (ms: number | undefined): {timeout?: number} => (ms === undefined ? {} : {timeout: ms});

export function requestOf(o: AssertionOptions): PublicKeyCredentialRequestOptions {
  return {
    challenge: toBytes(o.challenge),
    rpId: o.rp_id,
    allowCredentials: keys(o.allow),
    userVerification: o.user_verification ?? 'preferred',
    ...timeout(o.timeout_ms),
  };
}

export function creationOf(o: CreationOptions): PublicKeyCredentialCreationOptions {
  return {
    challenge: toBytes(o.challenge),
    rp: o.rp,
    user: {id: toBytes(o.user.id), name: o.user.name, displayName: o.user.display},
    pubKeyCredParams: o.algorithms.map((alg) => ({type: 'public-key', alg})),
    excludeCredentials: keys(o.exclude),
    attestation: o.attestation ?? 'none',
    authenticatorSelection: {userVerification: o.user_verification ?? 'preferred'},
    ...timeout(o.timeout_ms),
  };
}

export const canWebauthn = (): boolean => typeof PublicKeyCredential === 'function';

/** Browsers say one thing for a touch that did not come, a key that is not the right one, and a person who said no. */
async function asked<T>(work: Promise<Credential | null>): Promise<PublicKeyCredential & {response: T}> {
  try {
    return (await work) as PublicKeyCredential & {response: T};
  } catch (e) {
    const known = e instanceof DOMException && e.name === 'InvalidStateError';
    throw new ApiError(0, {code: known ? 'key_known' : 'key', message: e instanceof Error ? e.message : String(e)});
  }
}

export async function assertion(o: AssertionOptions): Promise<Record<string, string>> {
  const {id, response} = await asked<AuthenticatorAssertionResponse>(navigator.credentials.get({publicKey: requestOf(o)}));
  return {id, client_data: toText(response.clientDataJSON), authenticator_data: toText(response.authenticatorData), signature: toText(response.signature)};
}

export async function creation(o: CreationOptions): Promise<Record<string, string>> {
  const {id, response} = await asked<AuthenticatorAttestationResponse>(navigator.credentials.create({publicKey: creationOf(o)}));
  return {id, client_data: toText(response.clientDataJSON), attestation: toText(response.attestationObject)};
}
