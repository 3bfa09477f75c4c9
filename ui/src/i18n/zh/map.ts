// SPDX-License-Identifier: Apache-2.0
// Texts in Chinese: the map.
import type {map as en} from '../en/map';

export const map: Record<keyof typeof en, string> = {
  'map.by.tenant': '租户',
  'map.by.labels': '标签组',
  'map.by.label': '单个标签',
  'map.by.vm': '虚拟机',
  'map.whole': '完整流量图',
  'map.window': '时间窗口',
  'map.hours': '{n} 小时',
  'map.time': '窗口终点',
  'map.now': '现在',
  'map.allowed': '允许',
  'map.refused': '拒绝',
  'map.table': '表格',
  'map.vms.one': '{n} 台',
  'map.vms.other': '{n} 台',
  'map.left-out': '{n} 个较小的组合并为“其他”',
  'map.drawn': '图中绘出 {all} 条连接中的 {n} 条，表格中列出全部',
  'map.none': '此时间窗口内没有流量',
  'map.none.hint': '请选择更长的窗口或移动终点。',
  'map.partly': '部分被拒',
};
