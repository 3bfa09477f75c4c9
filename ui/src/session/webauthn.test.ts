// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {creationOf, requestOf, toBytes, toText} from './webauthn';

describe('security keys', () => {
  it('go between bytes and base64url', () => {
    for (const length of [0, 1, 2, 3, 32, 255]) {
      const bytes = Uint8Array.from({length}, (_, i) => (i * 7 + 250) % 256).buffer;
      expect(toText(bytes)).not.toMatch(/[+/=]/);
      expect(new Uint8Array(toBytes(toText(bytes)))).toEqual(new Uint8Array(bytes));
    }
  });

  it('are asked for as the manager wants it', () => {
    const request = requestOf({challenge: 'AQI', rp_id: 'bulkhead.example', allow: ['_-8'], timeout_ms: 1000, user_verification: 'required'});
    expect(request).toMatchObject({rpId: 'bulkhead.example', userVerification: 'required', timeout: 1000});
    expect(new Uint8Array(request.challenge as ArrayBuffer)).toEqual(Uint8Array.of(1, 2));
    expect(new Uint8Array(request.allowCredentials?.[0]?.id as ArrayBuffer)).toEqual(Uint8Array.of(0xff, 0xef));
    const made = creationOf({challenge: 'AQI', rp: {id: 'b.example', name: 'Bulkhead'}, user: {id: 'AQ', name: 'ada', display: 'Ada'}, algorithms: [-7, -8]});
    expect(made.pubKeyCredParams.map((p) => p.alg)).toEqual([-7, -8]);
    expect(made).toMatchObject({attestation: 'none', user: {displayName: 'Ada'}, excludeCredentials: []});
  });
});
