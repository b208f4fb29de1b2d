/** `${NAME}` and `${NAME:-default}` in the YAML's strings; `$${` stands for a plain `${`. */

export type Environment = Readonly<Record<string, string | undefined>>

export interface Substituted {
  readonly value: string
  /** The variables whose values are in it. */
  readonly used: readonly string[]
  /** Variables without a value and without a default. */
  readonly missing: readonly string[]
  /** What starts like a variable and is none. */
  readonly malformed: readonly string[]
}

const variable = /\$(\$\{)|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}|\$\{[^}]*\}?/g

/** As in a shell, the default is also taken when the variable is empty. */
export function substitute(text: string, environment: Environment): Substituted {
  const used: string[] = []
  const missing: string[] = []
  const malformed: string[] = []
  const value = text.replaceAll(variable, (whole: string, escaped?: string, name?: string, standIn?: string) => {
    if (escaped !== undefined) return escaped
    if (name === undefined) {
      malformed.push(whole)
      return whole
    }
    const given = Object.hasOwn(environment, name) ? environment[name] : undefined
    if (given === undefined && standIn === undefined) missing.push(name)
    if (given === undefined || (given === '' && standIn !== undefined)) return standIn ?? ''
    used.push(name)
    return given
  })
  return { value, used, missing, malformed }
}
