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
      const { items } = node
      const pair = items[last(items, ({ key }) => startOf(key) <= offset)]
      // What is no word is a key by mistake.
      if (!pair || !isScalar(pair.key) || /\s/.test(String(pair.key.value))) return path
      path.push(String(pair.key.value))
      if (startOf(pair.key) >= offset) return path
      node = pair.value
    } else if (isSeq(node)) {
      const { items } = node
      if (items.length === 0) return path
      const index = last(items, (item) => startOf(item) <= offset)
      path.push(index)
      node = items[index]
    } else return path
  }
  return path
}

/** The last of the first ones that begin before the offset, else the first: mistakes come in order, and so are found soon. */
function last<T>(items: readonly T[], before: (item: T) => boolean): number {
  const next = items.findIndex((item) => !before(item))
  return next < 0 ? items.length - 1 : Math.max(next - 1, 0)
}

/** Where a node begins; nodes without a place begin nowhere. */
function startOf(node: unknown): number {
  const range: unknown = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined
  return Array.isArray(range) ? Number(range[0]) : Infinity
}
