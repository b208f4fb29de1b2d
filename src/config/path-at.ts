/** Which part of a YAML document an offset stands in: the path that a syntax error is reported with. */
import { isMap, isScalar, isSeq, type Node } from 'yaml'
import type { Path } from './diagnostics.ts'

/** As deep as a path is worth reading. */
const deepest = 32

export function pathAt(root: Node | null, offset: number): Path {
  const path: (string | number)[] = []
  let node: unknown = root
  while (path.length < deepest) {
    if (isMap(node)) {
      const pair = node.items.find(({ key, value }) => Math.max(endOf(key), endOf(value)) > offset)
      if (!pair || !isScalar(pair.key)) return path
      path.push(String(pair.key.value))
      node = pair.value
    } else if (isSeq(node)) {
      const index = node.items.findIndex((item) => endOf(item) > offset)
      if (index < 0) return path
      path.push(index)
      node = node.items[index]
    } else return path
  }
  return path
}

/** Where a node ends; nodes without a place end nowhere. */
function endOf(node: unknown): number {
  const range: unknown = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined
  return Array.isArray(range) ? Number(range[1]) : -1
}
