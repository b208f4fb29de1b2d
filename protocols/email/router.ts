/** EmailToRouter: routes mail by its envelope recipient, by expression, by address or by domain. */
import { z } from 'zod'
import type { Params } from '../../src/asgi/protocol.ts'
import type { Match, Matcher, RouterDefinition } from '../../src/asgi/router.ts'
import { defineRouter } from '../../src/routing/router.ts'
import { compileSafely } from '../../src/routing/runaway.ts'
import { asciiDomainForm, foldAddress, foldDomain, longestAddress, type FoldedAddress } from './address.ts'
import { examine } from './expression.ts'
import type { EmailProtocol, EmailScope } from './scope.ts'

export const emailToRouterDefinition = {
  name: 'EmailToRouter',
  protocols: ['email'],
  keys: {
    regex: {
      description:
        'a regular expression on the whole folded recipient, such as @support\\.org$ or ^(?<queue>[a-z]+)@example\\.org$',
      schema: z.string().min(1),
      compile: compileExpression,
    },
    address: {
      description: 'one mailbox, such as help@support.org, with any plus-tag; one with a tag takes that tag alone',
      schema: z.string().min(3),
      compile: compileAddress,
    },
    domain: {
      description: 'a domain, such as support.org, or *.support.org for all that are below it',
      schema: z.string().min(1),
      compile: compileDomain,
    },
  },
  address: (scope: EmailScope) => foldAddress(scope.recipient)?.address,
  tokens: (address: string) => {
    const folded = foldAddress(address)
    return folded ? [...domainTokens(folded.domain), '@', folded.base] : []
  },
} satisfies RouterDefinition<EmailScope>

/** The router in code: `EmailToRouter([{ domain: 'support.org', app }])`. */
export const EmailToRouter = defineRouter<EmailProtocol, keyof typeof emailToRouterDefinition.keys>(
  emailToRouterDefinition,
)

/** From the right, so that a domain and what is below it share a branch of the index. */
function domainTokens(domain: string): string[] {
  return domain.split('.').toReversed()
}

function found({ local, tag }: FoldedAddress, groups: Readonly<Record<string, string | undefined>> = {}): Match {
  const params: Record<string, string> = { local, tag }
  for (const [name, value] of Object.entries(groups)) if (value !== undefined) params[name] = value
  return { params: params satisfies Params, rest: '' }
}

/** The parts of an expression that depend on what is before them. A set that begins with `^` is taken for one too. */
const looksBack = /\^|\\b|\(\?<[=!]/i

function compileExpression(source: string): Matcher {
  const expression = compileSafely(source, 'iu', longestAddress)
  const exec = (address: string) => {
    const direct = expression.exec(address)
    // An international domain may be written either way in the rule too.
    const ascii = direct ? address : asciiDomainForm(address)
    return direct ?? (ascii === address ? null : expression.exec(ascii))
  }
  const { domain, wholeDomain, surprise } = examine(source, (address) => {
    const folded = foldAddress(address)
    return folded !== undefined && exec(folded.address) !== null
  })
  const indexed = domain === undefined ? undefined : foldDomain(domain)
  return {
    text: `regex ${source}`,
    ...(indexed !== undefined && { sample: `help@${indexed}` }),
    tokens: indexed === undefined ? [] : [...domainTokens(indexed), '@'],
    open: true,
    total: wholeDomain && indexed !== undefined,
    match(address) {
      const folded = foldAddress(address)
      const match = folded && exec(folded.address)
      return match ? found(folded, match.groups) : undefined
    },
    covers(tokens) {
      const at = tokens.indexOf('@')
      // What it finds in the domain alone, without a look at what is before it, it finds behind any name.
      return at > 0 && !looksBack.test(source) && exec(`@${tokens.slice(0, at).toReversed().join('.')}`) !== null
    },
    ...(surprise !== undefined && { warning: `it also matches ${surprise}: ${advice(source)}` }),
  }
}

function advice(source: string): string {
  const words = 'escape the dots and anchor both ends of the domain'
  if (!/^[\w@.\\-]+\$?$/.test(source)) return words
  const meant = source.replace(/\$$/, '').replaceAll(/(?<=[\w-])\.(?=\w)/g, '\\.')
  return `${words}, as in ${meant.includes('@') ? '' : '@'}${meant}$`
}

function compileAddress(value: string): Matcher {
  const wanted = foldAddress(value)
  if (!wanted) throw new Error(`expected an address such as help@support.org, found ${JSON.stringify(value)}`)
  return {
    text: `address ${wanted.address}`,
    sample: wanted.address,
    tokens: [...domainTokens(wanted.domain), '@', wanted.base],
    open: false,
    total: wanted.tag === '',
    match(address) {
      const folded = foldAddress(address)
      if (folded?.base !== wanted.base || folded.domain !== wanted.domain) return undefined
      return wanted.tag === '' || wanted.tag === folded.tag ? found(folded) : undefined
    },
  }
}

function compileDomain(value: string): Matcher {
  const below = value.startsWith('*.')
  const domain = foldDomain(below ? value.slice(2) : value)
  if (domain === undefined)
    throw new Error(`expected a domain such as support.org or *.support.org, found ${JSON.stringify(value)}`)
  return {
    text: `domain ${below ? '*.' : ''}${domain}`,
    sample: `help@${below ? 'x.' : ''}${domain}`,
    tokens: below ? [...domainTokens(domain), null] : [...domainTokens(domain), '@'],
    open: true,
    // `example.org, anything` is also what a mailbox of the domain itself looks like to the index.
    total: !below,
    match(address) {
      const folded = foldAddress(address)
      const fits = below ? folded?.domain.endsWith(`.${domain}`) : folded?.domain === domain
      return folded && fits ? found(folded) : undefined
    },
  }
}
