/** The YAML as a tree of plain nodes that know where they stand: aliases resolved, variables filled in. */
import type { Path } from './diagnostics.ts'

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly offset: number
  readonly value: string | number | boolean | null
  /** As an error shows it. */
  readonly shown: string
  /** The value came from the environment or is a secret: no part of it may be in an error. */
  readonly hidden: boolean
}
export interface ListNode {
  readonly kind: 'list'
  readonly offset: number
  readonly items: readonly ConfigNode[]
}
export interface MapNode {
  readonly kind: 'map'
  readonly offset: number
  readonly entries: ReadonlyMap<string, Entry>
}
/** Something that was reported already: nothing more is said about it. */
export interface BrokenNode {
  readonly kind: 'broken'
  readonly offset: number
}
export type ConfigNode = ScalarNode | ListNode | MapNode | BrokenNode

export interface Entry {
  readonly keyOffset: number
  readonly value: ConfigNode
}

/** The node as a plain value; what is broken is undefined. */
export function plain(node: ConfigNode): unknown {
  switch (node.kind) {
    case 'scalar':
      return node.value
    case 'list':
      return node.items.map(plain)
    case 'map':
      return Object.fromEntries([...node.entries].map(([key, { value }]) => [key, plain(value)]))
    case 'broken':
      return undefined
    default:
      return node satisfies never
  }
}

/** What stands there, in words, for an error. */
export function found(node: ConfigNode): string {
  switch (node.kind) {
    case 'map':
      return 'a map'
    case 'list':
      return 'a list'
    case 'broken':
      return 'a mistake'
    case 'scalar':
      return node.shown.length > 80 ? `${node.shown.slice(0, 79)}…` : node.shown
    default:
      return node satisfies never
  }
}

export interface Located {
  /** The node at the path; undefined when a key on the way is missing. */
  readonly node: ConfigNode | undefined
  /** Where to point: at the node, or at what is nearest to it. */
  readonly offset: number
  /** Whether it, or something around it, was reported already. */
  readonly broken: boolean
}

/** Finds a path in the tree; with `atKey` it points at the last key instead of its value. */
export function locate(root: ConfigNode, path: Path, atKey = false): Located {
  let node: ConfigNode | undefined = root
  let { offset } = root
  for (const [index, step] of path.entries()) {
    if (node?.kind === 'broken') break
    const entry: Entry | undefined = node?.kind === 'map' ? node.entries.get(String(step)) : undefined
    node = node?.kind === 'list' ? node.items[Number(step)] : entry?.value
    if (!node) break
    offset = atKey && entry && index === path.length - 1 ? entry.keyOffset : node.offset
  }
  return { node, offset, broken: node?.kind === 'broken' }
}
