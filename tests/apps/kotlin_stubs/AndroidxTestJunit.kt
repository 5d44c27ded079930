package androidx.test.ext.junit.runners

import org.junit.runner.Runner

abstract class AndroidJUnit4 : Runner()
