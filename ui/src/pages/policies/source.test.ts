// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {onlyPolicy} from './source';

const ONE = 'kind: Policy\nmetadata:\n  name: web\n  tenant: shop\nspec:\n  ingress:\n  - name: other\n';

describe('the policy that a text holds', () => {
  it('is named by its metadata, and by nothing else', () => {
    expect(onlyPolicy(ONE, 'rival')).toEqual({tenant: 'shop', name: 'web'});
    expect(onlyPolicy(ONE.replace('  tenant: shop\n', ''), 'rival')).toEqual({tenant: 'rival', name: 'web'});
    expect(onlyPolicy(ONE.replace('  name', '  labels:\n    name: no\n  name'), 'x')).toEqual({tenant: 'shop', name: 'web'});
    expect(onlyPolicy('kind: Policy\nmetadata: {name: web, tenant: shop}\n', 'x')).toEqual({tenant: 'shop', name: 'web'});
    expect(onlyPolicy(`# said\n---\n${ONE.replace('web', '"web" # said')}`, 'x')).toEqual({tenant: 'shop', name: 'web'});
  });

  it('is one', () => {
    expect(onlyPolicy(`${ONE}---\n${ONE}`, 'shop')).toBeNull();
    expect(onlyPolicy('kind: Tenant\nmetadata:\n  name: shop\n', 'shop')).toBeNull();
    expect(onlyPolicy('', 'shop')).toBeNull();
    expect(onlyPolicy('kind: Policy\nspec:\n  name: no\n', 'shop')).toBeNull();
  });
});
