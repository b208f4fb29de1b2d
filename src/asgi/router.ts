/** Routers as data: what a rule may match on, and how an address is cut up for the index. */
import type { ZodType } from 'zod'
import type { BaseScope, Params } from './protocol.ts'

/** A router that YAML can name. `S` is the scope it routes. */
export interface RouterDefinition<S = BaseScope> {
  /** As the YAML says it, e.g. `TopicRouter`. */
  readonly name: string
  /** The scope types it routes. */
  readonly protocols: readonly string[]
  /** What a rule may match on; a rule has exactly one of them. */
  readonly keys: Readonly<Record<string, RuleKey>>
  /** The part of the scope that is matched; undefined when this scope has no such address yet (no rule matches then). */
  address(scope: S): string | undefined
  /** The address cut into the tokens that the index is made of. */
  tokens(address: string): readonly string[]
  /**
   * The scope that a nested router sees when `rest` is left of the address; without it the whole address stays. `scope` is a copy
   * already, and may be changed.
   */
  consume?(scope: S, rest: string): S
}

/** One key that a rule may match on, e.g. `path`. */
export interface RuleKey {
  /** What the YAML may write here, in words, for errors and the schema. */
  readonly description: string
  /** The schema of the value: a string in most cases. */
  readonly schema: ZodType<string>
  /** Turns the value into a matcher. @throws Error in words when it is malformed. */
  compile(value: string): Matcher
}

/** A compiled rule. Pure: the same address always gives the same answer. */
export interface Matcher {
  /** The rule in words, e.g. `path /chat/:room`. */
  readonly text: string
  /** Where the index files it: a literal token, or null for any one. An address that matches always fits. */
  readonly tokens: readonly (string | null)[]
  /** Whether more tokens may follow. `tokens: [], open: true` is a rule that every lookup must try. */
  readonly open: boolean
  match(address: string): Match | undefined
  /** True when it takes every address that fits its tokens: what can make a later rule unreachable. */
  readonly total: boolean
  /** True when it takes every address that fits these tokens: for a rule that can say so although it is not `total`. */
  covers?(tokens: readonly (string | null)[]): boolean
  /** An address that it probably takes, for who wants to try it; left out: none comes to mind. */
  readonly sample?: string
  /** Something worth a warning that is not wrong, e.g. an unanchored expression with an address that it also matches. */
  readonly warning?: string
  /** Why no address matches where no router has taken something off it before, and what was probably meant. */
  readonly vain?: string
}

export interface Match {
  readonly params: Params
  /** What is left of the address for a nested router. */
  readonly rest: string
}
