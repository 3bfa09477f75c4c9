// SPDX-License-Identifier: Apache-2.0
// Texts in English: the audit log.
export const audit = {
  'audit.who': 'Who',
  'audit.act': 'Act',
  'audit.object': 'Object',
  'audit.result': 'Result',
  'audit.result.done': 'done',
  'audit.result.refused': 'refused',
  'audit.result.failed': 'failed',
  'audit.result.denied': 'denied',
  'audit.result.begun': 'begun',
  'audit.from': 'From',
  'audit.factor': 'Second factor',
  'audit.reason': 'Reason',
  'audit.none': 'Nothing on record',
  'audit.exported': 'Exported. Check it anywhere: bulkhead audit verify audit.jsonl',
} as const;
