/** Finds the rules that could take an address, in file order, without asking the others. */

interface Node {
  readonly literal: Map<string, Node>
  any: Node | undefined
  /** Rules that end here. */
  readonly exact: number[]
  /** Rules that go on with any tokens. */
  readonly open: number[]
}

const newNode = (): Node => ({ literal: new Map(), any: undefined, exact: [], open: [] })

/** A tree of tokens; rules are numbers in file order and must be added in that order. */
export class TokenIndex {
  readonly #root = newNode()

  add(tokens: readonly (string | null)[], open: boolean, rule: number): void {
    let node = this.#root
    for (const token of tokens) {
      if (token === null) node = node.any ??= newNode()
      else {
        const next = node.literal.get(token) ?? newNode()
        node.literal.set(token, next)
        node = next
      }
    }
    ;(open ? node.open : node.exact).push(rule)
  }

  /** The rules whose tokens fit, ascending. */
  candidates(tokens: readonly string[]): Iterable<number> {
    const lists: number[][] = []
    collect(this.#root, tokens, 0, lists)
    return lists.length === 1 ? (lists[0] as number[]) : merged(lists) // looked at in this line
  }
}

function* merged(lists: readonly (readonly number[])[]): Generator<number> {
  const heads = lists.map(() => 0)
  for (;;) {
    let first = Infinity
    let from = -1
    for (const [index, list] of lists.entries()) {
      const rule = list[heads[index] as number]
      if (rule !== undefined && rule < first) [first, from] = [rule, index]
    }
    if (from < 0) return
    heads[from] = (heads[from] as number) + 1
    yield first
  }
}

function collect(node: Node, tokens: readonly string[], depth: number, lists: number[][]): void {
  if (node.open.length > 0) lists.push(node.open)
  const token = tokens[depth]
  if (token === undefined) {
    if (node.exact.length > 0) lists.push(node.exact)
    return
  }
  const literal = node.literal.get(token)
  if (literal) collect(literal, tokens, depth + 1, lists)
  if (node.any) collect(node.any, tokens, depth + 1, lists)
}
