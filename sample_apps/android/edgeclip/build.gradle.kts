import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.android.library)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "dev.edgeclip"
    compileSdk = 36

    defaultConfig {
        minSdk = 28 // ImageDecoder, which turns photos by their EXIF orientation
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin {
    compilerOptions {
        jvmTarget = JvmTarget.JVM_17
    }
}

dependencies {
    implementation(libs.executorch)
    api(libs.coroutines)
    testImplementation(libs.junit)
}
