/** The kinds of value that several protocols' options share: sizes, durations, addresses, certificate files. */
import { z } from 'zod'
import type { ListenAddress } from '../asgi/adapter.ts'

/** For what is checked once: zod else compiles a schema at its first use, which takes longer than that use. */
export const once = { jitless: true } as const

const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}
const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3 }

function quantity(units: Readonly<Record<string, number>>, expected: string) {
  const pattern = new RegExp(`^(\\d+(?:\\.\\d+)?)\\s*(${Object.keys(units).join('|')})$`)
  return z
    .union([z.string(), z.number()])
    .meta({ description: expected })
    .transform((value, context) => {
      const match = pattern.exec(String(value))
      const unit = match?.[2] === undefined ? undefined : units[match[2]]
      if (unit !== undefined) return Math.round(Number(match?.[1]) * unit)
      context.addIssue({ code: 'custom', message: `found ${JSON.stringify(value)}, expected ${expected}` })
      return z.NEVER
    })
}

/** A number of bytes: `25MiB`, `64KiB`, `1MB`, `512B`. Parsed to bytes. */
export const size = () => quantity(sizeUnits, 'a size with its unit, such as 25MiB or 64KiB')

/** A length of time: `500ms`, `30s`, `5m`, `2h`, `7d`. Parsed to milliseconds. */
export const duration = () => quantity(durationUnits, 'a duration with its unit, such as 500ms, 30s or 5m')

/** Node's longest timer, in milliseconds: one that is set to more is over at once. */
export const longestTimer = 2 ** 31 - 1

/** A length of time that a timer waits for, which is at most 24 days. Parsed to milliseconds. */
export const timeout = () => duration().refine((value) => value <= longestTimer, { error: 'expected at most 24d' })

/** A whole number from `min` up; text is taken too, because a value from the environment is text. */
export const count = (min = 0, max: number = Number.MAX_SAFE_INTEGER) => z.coerce.number().int().min(min).max(max)

/** Yes or no; the text of an environment variable is taken too. */
export const flag = () => z.union([z.boolean(), z.stringbool({ truthy: ['true'], falsy: ['false'] })])

/** `host:port`, `[::1]:port`, or a port alone on loopback. Port 0 takes any free one. */
export const address = () =>
  z
    .union([z.string(), z.number()])
    .meta({ description: 'host:port, such as 127.0.0.1:8000' })
    .transform((value, context): ListenAddress => {
      const match = /^(?:(?:\[([^\]]+)\]|([\w.-]+)):)?(\d{1,5})$/.exec(String(value))
      const port = Number(match?.[3])
      if (match && port <= 65_535) return { host: match[1] ?? match[2] ?? '127.0.0.1', port }
      context.addIssue({
        code: 'custom',
        message: `found ${JSON.stringify(value)}, expected host:port, such as 127.0.0.1:8000`,
      })
      return z.NEVER
    })

/** PEM files, relative to the YAML. */
export const tlsFiles = () => z.strictObject({ cert: z.string().min(1), key: z.string().min(1) })

/** Whether only this machine can reach the address. */
export function isLoopback(address: ListenAddress): boolean {
  return address.host === 'localhost' || address.host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address.host)
}

/** `127.0.0.1:8000`, `[::1]:8000`. */
export function addressText({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Where a client on this machine finds a listener: one listens on all addresses, but calls one. */
export function reachable({ host, port }: ListenAddress): ListenAddress {
  return { host: host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port }
}
