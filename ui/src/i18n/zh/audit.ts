// SPDX-License-Identifier: Apache-2.0
// Texts in Chinese: the audit log.
import type {audit as en} from '../en/audit';

export const audit: Record<keyof typeof en, string> = {
  'audit.who': '操作者',
  'audit.act': '操作',
  'audit.object': '对象',
  'audit.result': '结果',
  'audit.result.done': '完成',
  'audit.result.refused': '被拒',
  'audit.result.failed': '失败',
  'audit.result.denied': '无权',
  'audit.result.begun': '已开始',
  'audit.from': '来源',
  'audit.factor': '第二因素',
  'audit.reason': '原因',
  'audit.none': '没有记录',
  'audit.exported': '已导出,可离线校验:bulkhead audit verify audit.jsonl',
};
